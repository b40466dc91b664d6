"""The key in a node's address and the wallet's own are in no log and no answer, whether the node answers or is gone."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.client import ApiError, Client
from local.process import running
from local.solana.genesis import ProgramsMissing, find_programs
from local.solana.own import own_chain
from order_engine.domain import base58


async def orders(url: str, count: int) -> list[str]:
    """Place orders, and all that was said of each."""
    said = []
    async with Client(url, "oek_alice") as client:
        for _ in range(count):
            placed = await client.place("SOL", "USDC", "0.5")
            async for _ in client.follow(placed.order_id, ws_url=placed.ws_url):
                pass
            said.append(str(await client.get(placed.order_id)))
        try:
            said.append(str(await client.quote("SOL", "USDC", "1")))
        except ApiError as error:
            said.append(str(error))
    return said


def test_no_line_of_a_stack_names_its_node() -> None:
    try:
        programs = find_programs(os.environ.get("SOLANA_PROGRAMS", ""))
    except ProgramsMissing as missing:
        pytest.skip(str(missing))
    with ExitStack() as closing:
        started = closing.enter_context(own_chain(programs))
        url = f"{started.url}?api-key=very-secret"
        key = Path(started.settings["SIGNER"].removeprefix("file:")).read_text()
        settings = {**started.settings, "RPC_URL": url, "SEND_URL": url, "MAX_RETRIES": "0"}
        with running("--verbose", environment=settings) as stack:
            (well,) = stack.lines_with("Chain:", 1)
            assert well.startswith("Chain: the nodes of RPC_URL, 11 pools; wallet ")
            good, quote = asyncio.run(orders(stack.http_url, 1))
            assert "'status': 'confirmed'" in good
            closing.close()
            bad, problem = asyncio.run(orders(stack.http_url, 1))
            assert "'status': 'failed'" in bad
            assert "No node answered getMultipleAccounts. node 1: cannot be reached" in bad
            lines = [*stack.lines, good, quote, bad, problem]
    address = started.url.removeprefix("http://").rstrip("/")
    seed = bytes(json.loads(key)[:32])
    for line in lines:
        assert key not in line
        assert seed.hex() not in line
        assert base58.encode(seed) not in line
        assert "very-secret" not in line
        assert address not in line
    # The functions' own logs were among them.
    assert any("No node answered" in line or '"level"' in line for line in lines)
