"""Raydium's programs: the integer mathematics of their pools."""
