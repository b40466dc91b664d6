"""What a transaction would do now, before anybody has signed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from order_engine.venues.solana.build import message_of
from order_engine.venues.solana.messages import MAX_UNITS, SIGNATURE_BYTES, ComputeBudget, Instruction, transaction
from order_engine.venues.solana.node import Blockhash, Node
from order_engine.venues.solana.parse import parse, programs
from order_engine.venues.solana.refusals import Refusal, refusal

# What a swap is expected to take at most. A simulation may take all that there is, at a price that makes it no dearer
# than this: or a wallet would be refused that can pay.
_USUAL_UNITS = 200_000
# The node puts its newest block hash in the place of this one.
_NO_BLOCKHASH = "1" * 32


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would happen.

    Attributes:
        slot: at which it was tried.
        units: compute units that it takes.
        refusal: why it would fail; its ``call`` counts from the first of the given instructions. None if it would not.
        sent: base units that each instruction sends to each account, by instruction and address, before what a mint
            withholds; empty where the node does not tell.
        blockhash: the newest one, for the message that is signed; None where the node does not tell.
    """

    slot: int
    units: int
    refusal: Refusal | None
    sent: Mapping[tuple[int, str], int]
    blockhash: Blockhash | None = None


async def rehearse(node: Node, calls: Sequence[Instruction], wallet: str, price: int) -> Rehearsal:
    """Simulate a transaction.

    Args:
        price: micro-lamports per compute unit that it will offer.

    Raises:
        RouteTooLarge: it does not fit into a transaction.
        NodeUnavailable, NodeRefused: the node gave no answer.
    """
    message = message_of(calls, wallet, _NO_BLOCKHASH, ComputeBudget(MAX_UNITS, -(-price * _USUAL_UNITS // MAX_UNITS)))
    raw = transaction(message, [bytes(SIGNATURE_BYTES)])
    simulated = await node.simulate(raw, [])
    every = parse(raw).calls
    first = len(every) - len(calls)
    if simulated.error is None:
        sent = _sent(simulated.inner)
        counted = {(call - first, to): amount for (call, to), amount in sent.items()}
        return Rehearsal(simulated.slot, simulated.units, None, counted, simulated.blockhash)
    why = refusal(simulated.error, simulated.logs, programs(every))
    place = None if why.call is None else why.call - first
    return Rehearsal(simulated.slot, simulated.units, Refusal(why.code, why.message, place), {})


def _sent(inner: Sequence[Any]) -> dict[tuple[int, str], int]:
    """Token transfers that programs made. Nodes write those of the token programs in words; others do not matter."""
    found: dict[tuple[int, str], int] = {}
    for group in inner:
        try:
            call = int(group["index"])
            for each in group["instructions"]:
                said = each.get("parsed")
                if not isinstance(said, dict) or not str(said.get("type")).startswith("transfer"):
                    continue
                info = said["info"]
                amount = int(info["tokenAmount"]["amount"] if "tokenAmount" in info else info["amount"])
                key = (call, str(info["destination"]))
                found[key] = found.get(key, 0) + amount
        except (KeyError, TypeError, ValueError, AttributeError):
            # What cannot be read is not compared: the programs hold the least outputs all the same.
            continue
    return found
