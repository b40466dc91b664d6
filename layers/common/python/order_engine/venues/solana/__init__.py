"""Solana: addresses, instructions, messages and the node's interface."""
