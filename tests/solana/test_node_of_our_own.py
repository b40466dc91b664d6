"""The node of our own over HTTP, asked by the engine's own client."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from local.solana.ledger import CONFIRMED_AFTER, FINALIZED_AFTER, VALID_BLOCKS, Chain, Weather
from local.solana.methods import Methods
from local.solana.server import Manners, NodeServer
from order_engine.venues.solana.addresses import MEMO, TOKEN
from order_engine.venues.solana.instructions import memo, transfer_lamports
from order_engine.venues.solana.node import Known, Node
from order_engine.venues.solana.rpc import JsonRpc, NodeRefused, NodeUnavailable
from tests.solana.scene import HandClock, Wallet

type ChainOf = Callable[[Weather], Chain]


async def test_a_transaction_from_its_block_hash_to_its_ledger(
    chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather(landing_slots=(2, 2)))
    async with NodeServer(Methods(chain)) as server:
        node = Node(JsonRpc([server.url]))
        blockhash = await node.blockhash()
        height = await node.height()
        assert blockhash.last_valid_block_height == height.blocks + VALID_BLOCKS
        note = wallet.sign([memo("order 7, attempt 1")], blockhash.value)
        signature = str(note.signatures[0])
        assert (await node.status(signature, search_history=True)).landed is None
        await node.send(bytes(note))
        await node.send(bytes(note))
        clock.slots(3)
        # It is processed, and that may still vanish.
        assert (await node.status(signature, search_history=True)).landed is None
        clock.slots(CONFIRMED_AFTER)
        known = await node.status(signature, search_history=False)
        assert known.landed is not None
        assert known.landed.error is None
        ledger = await node.ledger(signature)
        assert ledger is not None
        assert (ledger.error, ledger.fee, ledger.slot) == (None, 5000, known.landed.slot)
        assert any("order 7, attempt 1" in line for line in ledger.logs)


async def test_version_1_lands_too(chain_of: ChainOf, clock: HandClock, wallet: Wallet) -> None:
    chain = chain_of(Weather())
    async with NodeServer(Methods(chain)) as server:
        node = Node(JsonRpc([server.url]))
        note = wallet.sign([memo("x" * 1500)], (await node.blockhash()).value, version=1)
        assert len(bytes(note)) > 1232
        await node.send(bytes(note))
        clock.slots(10)
        ledger = await node.ledger(str(note.signatures[0]))
        assert ledger is not None
        assert ledger.error is None


async def test_old_signatures_are_found_through_the_history_only(
    chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather())
    async with NodeServer(Methods(chain)) as server:
        node = Node(JsonRpc([server.url]))
        note = wallet.note("old", chain)
        await node.send(bytes(note))
        clock.slots(VALID_BLOCKS + FINALIZED_AFTER)
        signature = str(note.signatures[0])
        assert (await node.status(signature, search_history=False)).landed is None
        assert (await node.status(signature, search_history=True)).landed is not None


async def test_nodes_of_different_age_stand_behind_one_address(
    chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather(lags=(0, 60)))
    async with NodeServer(Methods(chain)) as server:
        node = Node(JsonRpc([server.url]))
        note = wallet.note("seen by one", chain)
        chain.send(note)
        clock.slots(20)
        answers = [await node.status(str(note.signatures[0]), search_history=True) for _ in range(4)]
        ahead = [known for known in answers if known.landed is not None]
        behind = [known for known in answers if known.landed is None]
        assert len(ahead) == len(behind) == 2
        # Each says how far it is: an answer from behind can be told by its slot.
        assert {known.slot for known in behind} == {chain.slot - 60}
        assert {known.slot for known in ahead} == {chain.slot}
        heights = {(await node.height()).slot for _ in range(4)}
        assert heights == {chain.slot - CONFIRMED_AFTER, chain.slot - 60 - CONFIRMED_AFTER}
        assert answers[0] != Known(0, None)


async def test_a_preflight_that_fails_is_told_and_nothing_is_sent(
    chain_of: ChainOf, clock: HandClock, wallet: Wallet
) -> None:
    chain = chain_of(Weather())
    async with NodeServer(Methods(chain)) as server:
        rpc = JsonRpc([server.url])
        blockhash = (await Node(rpc).blockhash()).value
        poor = wallet.sign([transfer_lamports(wallet.address, TOKEN, 10**18)], blockhash)
        simulated = await Node(rpc).simulate(bytes(poor), [wallet.address])
        assert simulated.error == {"InstructionError": [1, {"Custom": 1}]}
        text = base64.b64encode(bytes(poor)).decode()
        with pytest.raises(NodeRefused, match="simulation failed") as refused:
            await rpc.call("sendTransaction", text, {"encoding": "base64"})
        assert (refused.value.code, refused.value.data["err"]) == (-32002, simulated.error)
        clock.slots(10)
        assert chain.advance()
        assert (chain.landed, chain.sent) == ({}, 0)


async def test_a_simulation_shows_what_would_be_and_changes_nothing(chain_of: ChainOf, wallet: Wallet) -> None:
    chain = chain_of(Weather())
    async with NodeServer(Methods(chain)) as server:
        node = Node(JsonRpc([server.url]))
        note = wallet.sign([memo("what if")], "1" * 32)
        simulated = await node.simulate(bytes(note), [wallet.address, MEMO])
        assert simulated.error is None
        assert simulated.units > 0
        assert simulated.accounts[wallet.address] is not None
        account = chain.account(wallet.address)
        assert account is not None
        assert account.lamports == 10**12


async def test_a_forged_signature_is_refused(chain_of: ChainOf, wallet: Wallet) -> None:
    chain = chain_of(Weather())
    async with NodeServer(Methods(chain)) as server:
        raw = bytearray(bytes(wallet.note("mine", chain)))
        raw[5] ^= 1
        with pytest.raises(NodeUnavailable, match="signature verification"):
            await Node(JsonRpc([server.url])).send(bytes(raw))


async def test_a_busy_or_broken_node_is_passed_over(chain_of: ChainOf) -> None:
    chain = chain_of(Weather())
    methods = Methods(chain)
    for manners in (Manners(busy=1.0), Manners(broken=1.0)):
        async with NodeServer(methods, manners=manners) as bad, NodeServer(methods) as good:
            with pytest.raises(NodeUnavailable):
                await Node(JsonRpc([bad.url])).height()
            assert (await Node(JsonRpc([bad.url, good.url])).height()).slot == chain.slot - CONFIRMED_AFTER


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"method": 7}',
        b'{"id":1,"method":"nonsense"}',
        b'{"id":1,"method":"getBalance","params":[]}',
    ],
)
async def test_odd_requests_are_answered_by_an_error(chain_of: ChainOf, body: bytes) -> None:
    async with NodeServer(Methods(chain_of(Weather()))) as server:
        answer: dict[str, Any] = await asyncio.to_thread(_post, server.url, body)
    assert isinstance(answer["error"]["code"], int)


def _post(url: str, body: bytes) -> dict[str, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        loaded: dict[str, Any] = json.loads(answer.read())
    return loaded
