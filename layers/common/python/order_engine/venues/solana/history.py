"""The swaps of a wallet, as its transactions in the ledger tell them.

Anybody can write a note, and name the wallet in a transaction: as many as they can pay for. So whose a transaction is
gets looked up side by side, in no order that anybody could foresee, within a bound of time, and is remembered: what one
look does not come to, the next one does.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from order_engine.engine.ports import Incomplete, Swapped
from order_engine.venues.solana.build import order_of
from order_engine.venues.solana.node import MAX_SIGNATURES, Node
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable

# How long lists are read, and whose transactions they are is looked up, seconds; and how many of these at once.
_LISTING_S, _LOOKING_S, _AT_ONCE = 4.0, 4.0, 8
_MOST_REMEMBERED = 50_000


async def swaps_since(node: Node, wallet: str, since_ms: int, known: dict[str, bool] | None = None) -> list[Swapped]:
    """Every swap that the wallet's transactions name an order for, since a time (milliseconds since the epoch).

    Of several transactions for one order, each counts only if the wallet itself paid for it.

    Args:
        known: whether the wallet paid, by signature, as far as that was looked up; what is found out is added.

    Raises:
        Incomplete: there was no time, or no answer, for all of them. It has those that are certain.
        NodeUnavailable, NodeRefused: a node gave no answer.
    """
    own = {} if known is None else known
    found, whole = await _named(node, wallet, since_ms)
    often = Counter(swap.order_id for swap in found)
    unclear = [swap.signature for swap in found if often[swap.order_id] > 1 and swap.signature not in own]
    if len(own) + len(unclear) > _MOST_REMEMBERED:
        own.clear()
    await _look_up(node, wallet, unclear, own)
    kept = [swap for swap in found if often[swap.order_id] == 1 or own.get(swap.signature, False)]
    if not whole or any(signature not in own for signature in unclear):
        raise Incomplete(kept)
    return kept


async def _look_up(node: Node, wallet: str, signatures: list[str], own: dict[str, bool]) -> None:
    """Find out whose transactions these are, as far as there is time."""
    random.shuffle(signatures)
    waiting = iter(signatures)

    async def work() -> None:
        for signature in waiting:
            try:
                ledger = await node.ledger(signature)
            except (NodeUnavailable, NodeRefused):
                continue
            if ledger is not None and ledger.signature == signature:
                own[signature] = ledger.payer == wallet

    workers = [asyncio.create_task(work()) for _ in range(min(_AT_ONCE, len(signatures)))]
    if workers:
        done, late = await asyncio.wait(workers, timeout=_LOOKING_S)
        for task in late:
            task.cancel()
        for task in done:
            task.result()


async def _named(node: Node, wallet: str, since_ms: int) -> tuple[list[Swapped], bool]:
    """Swaps that notes name, newest first, and whether these are all."""
    found: dict[str, Swapped] = {}
    before: str | None = None
    loop = asyncio.get_running_loop()
    until = loop.time() + _LISTING_S
    while loop.time() < until:
        page = await node.signatures(wallet, before=before)
        for mention in page:
            # A block's time is in whole seconds, rounded down.
            if mention.unix_time is not None and (mention.unix_time + 1) * 1000 <= since_ms:
                return list(found.values()), True
            names = [order_id for note in mention.notes if (order_id := order_of(note)) is not None]
            if names and not mention.failed:
                found.setdefault(mention.signature, Swapped(names[0], mention.signature))
        if len(page) < MAX_SIGNATURES:
            return list(found.values()), True
        before = page[-1].signature
    return list(found.values()), False
