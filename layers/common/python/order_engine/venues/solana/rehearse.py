"""What a transaction would do now, before anybody has signed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from order_engine.venues.solana.build import message_of
from order_engine.venues.solana.messages import SIGNATURE_BYTES, ComputeBudget, Instruction, transaction
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.parse import parse, programs
from order_engine.venues.solana.refusals import Refusal, refusal

_MAX_UNITS = 1_400_000
# The node puts its newest block hash in the place of this one.
_NO_BLOCKHASH = "1" * 32


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would happen.

    Attributes:
        units: compute units that it takes.
        refusal: why it would fail; its ``call`` counts from the first of the given instructions. None if it would not.
    """

    units: int
    refusal: Refusal | None


async def rehearse(node: Node, calls: Sequence[Instruction], wallet: str, price: int) -> Rehearsal:
    """Simulate a transaction.

    Args:
        price: micro-lamports per compute unit that it will offer.

    Raises:
        BuildFailed: it is too large.
        NodeUnavailable, NodeRefused: the node gave no answer.
    """
    message = message_of(calls, wallet, _NO_BLOCKHASH, ComputeBudget(_MAX_UNITS, price))
    raw = transaction(message, [bytes(SIGNATURE_BYTES)])
    simulated = await node.simulate(raw, [])
    if simulated.error is None:
        return Rehearsal(simulated.units, None)
    all_calls = parse(raw).calls
    why = refusal(simulated.error, simulated.logs, programs(all_calls))
    first = len(all_calls) - len(calls)
    return Rehearsal(
        simulated.units,
        Refusal(why.code, why.message, None if why.call is None else why.call - first),
    )
