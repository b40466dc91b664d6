"""The swaps of a wallet, as its transactions in the ledger tell them."""

from __future__ import annotations

from collections import Counter

from order_engine.engine.ports import Swapped
from order_engine.venues.solana.build import order_of
from order_engine.venues.solana.node import MAX_SIGNATURES, Node

# So many pages of a thousand transactions each are read back, and no more.
_MOST_PAGES = 1000


async def swaps_since(node: Node, wallet: str, since_ms: int) -> list[Swapped]:
    """Every swap that the wallet's transactions name an order for, since a time (milliseconds since the epoch).

    Anybody can write a note, and name the wallet in the transaction. So of several swaps for one order, each is looked
    up, and counts only if the wallet itself paid for it.

    Raises:
        NodeUnavailable, NodeRefused: a node gave no answer.
    """
    found = await _named(node, wallet, since_ms)
    often = Counter(swap.order_id for swap in found)
    kept: list[Swapped] = []
    for swap in found:
        if often[swap.order_id] > 1:
            ledger = await node.ledger(swap.signature)
            if ledger is not None and ledger.lamports[0][0] != wallet:
                continue
        kept.append(swap)
    return kept


async def _named(node: Node, wallet: str, since_ms: int) -> list[Swapped]:
    found: dict[str, Swapped] = {}
    before: str | None = None
    for _ in range(_MOST_PAGES):
        page = await node.signatures(wallet, before=before)
        for mention in page:
            # A block's time is in whole seconds, rounded down.
            if mention.unix_time is not None and (mention.unix_time + 1) * 1000 <= since_ms:
                return list(found.values())
            names = [order_id for note in mention.notes if (order_id := order_of(note)) is not None]
            if names and not mention.failed:
                found.setdefault(mention.signature, Swapped(names[0], mention.signature))
        if len(page) < MAX_SIGNATURES:
            break
        before = page[-1].signature
    return list(found.values())
