"""Whether a live market can work: looked at before anybody trades on it, what is wrong said in a sentence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from order_engine.domain.amounts import format_amount
from order_engine.domain.errors import VenuesUnavailable
from order_engine.domain.tokens import SOL, Token
from order_engine.settings import SettingsError
from order_engine.venues.solana.market import Solana
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.pools import Unusable
from order_engine.venues.solana.programs.registry import PROGRAMS
from order_engine.venues.solana.proof import vouches
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable

# Below this a wallet can pay neither fees nor the rent of a token account.
LEAST_LAMPORTS = 5_000_000


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of a market that works.

    Attributes:
        wallet: the address that signs.
        lamports: what it holds for fees, rent and new accounts.
        pools: how many can be traded on.
        left_out: those that cannot.
    """

    wallet: str
    lamports: int
    tokens: tuple[Token, ...]
    pools: int
    left_out: tuple[Unusable, ...]


async def examine(market: Solana) -> Examined:
    """Look at settings, key, node, programs, pools and wallet.

    Raises:
        SettingsError: the first thing that must be mended, in a sentence. No address of a node is in it.
    """
    listing, signer, node = market.listing, market.signer, market.node
    try:
        await node.height()
        await _programs(node)
        await _witnesses(node)
        reading = await market.source.read_all()
        lamports = await node.lamports(signer.address)
        # Reading the mints waits for a node, and here others have the event loop meanwhile.
        tokens = tuple(await asyncio.to_thread(lambda: market.tokens))
    except (NodeUnavailable, NodeRefused, VenuesUnavailable) as error:
        raise SettingsError(f"RPC_URL: {error}") from None
    foreign = next((each for each in reading.unusable if each.foreign), None)
    if foreign is not None:
        raise SettingsError(f"POOLS: {foreign.reason}")
    known = {token.mint for token in tokens}
    usable = [live for live in reading.pools if set(live.accounts.mints) <= known]
    if not usable:
        why = f" {reading.unusable[0].address}: {reading.unusable[0].reason}" if reading.unusable else ""
        raise SettingsError(f"POOLS: none of the {len(listing.pools)} pools can be traded on.{why}")
    if lamports < LEAST_LAMPORTS:
        raise SettingsError(
            f"SIGNER: the wallet {signer.address} holds {format_amount(lamports, SOL)} SOL and cannot pay for "
            f"transactions and token accounts: send it {format_amount(LEAST_LAMPORTS, SOL)} SOL or more."
        )
    return Examined(signer.address, lamports, tokens, len(usable), reading.unusable)


async def _witnesses(node: Node) -> None:
    """Without what proves that a transaction never landed, an order whose transaction is lost would wait for ever."""
    for number, each in enumerate(await node.apart(), 1):
        if not await vouches(each):
            raise SettingsError(f"RPC_URL: address {number} does not have the blocks of the last minute.")


async def _programs(node: Node) -> None:
    there = await node.executable(list(PROGRAMS))
    missing = [address for address, found in there.items() if not found]
    if missing:
        raise SettingsError(
            f"RPC_URL: this node has no program {', '.join(missing)}. Is it one of Solana's main network?"
        )
