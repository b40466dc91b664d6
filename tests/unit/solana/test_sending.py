"""Who is given a transaction's bytes."""

from __future__ import annotations

from typing import Any

import pytest

from order_engine.venues.solana.node import Node
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable


class Way:
    """Takes bytes, or does not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken = 0

    async def call(self, method: str, *params: Any) -> Any:
        assert (method, params[1]["skipPreflight"], params[1]["maxRetries"]) == ("sendTransaction", True, 0)
        self.taken += 1
        if self.error is not None:
            raise self.error
        return "signature"


GONE = NodeUnavailable("No node answered.")


@pytest.mark.parametrize(
    ("sender", "reader", "everywhere", "taken", "fails"),
    [
        (None, None, False, (1, 0), False),
        (None, None, True, (1, 1), False),
        (GONE, None, False, (1, 1), False),
        (GONE, None, True, (1, 1), False),
        (None, GONE, True, (1, 1), False),
        (GONE, GONE, True, (1, 1), True),
        (GONE, GONE, False, (1, 1), True),
        (NodeRefused(-32602, "no"), None, False, (1, 1), False),
    ],
)
async def test_bytes_go_through_the_senders_address_and_through_all_where_it_takes_none(
    sender: Exception | None, reader: Exception | None, everywhere: bool, taken: tuple[int, int], fails: bool
) -> None:
    ways = Way(sender), Way(reader)
    node = Node(ways[1], ways[0])
    if fails:
        with pytest.raises(NodeUnavailable):
            await node.send(b"bytes", everywhere=everywhere)
    else:
        await node.send(b"bytes", everywhere=everywhere)
    assert (ways[0].taken, ways[1].taken) == taken
