"""What a node's answers mean, in types."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from order_engine.engine.ports import Height
from order_engine.venues.solana.accounts import Account
from order_engine.venues.solana.node import Blockhash, Known, Landed, Node
from order_engine.venues.solana.rpc import NodeUnavailable


class Told:
    """Answers by method; remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    async def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, params))
        answer = self.answers[method]
        return answer(*params) if callable(answer) else answer


def at(slot: int, value: Any) -> dict[str, Any]:
    return {"context": {"slot": slot}, "value": value}


def account(data: bytes, owner: str = "owner") -> dict[str, Any]:
    return {"data": [base64.b64encode(data).decode(), "base64"], "owner": owner, "lamports": 1, "space": len(data)}


async def test_accounts_are_read_together_and_in_hundreds() -> None:
    slots = iter((12, 11, 13))

    def answer(names: list[str], options: dict[str, Any]) -> Any:
        assert options == {"encoding": "base64", "commitment": "confirmed"}
        return at(next(slots), [None if name == "7" else account(name.encode()) for name in names])

    told = Told(getMultipleAccounts=answer)
    names = [str(n) for n in range(250)]
    slot, found = await Node(told).accounts([*names, "3", "4"])
    assert slot == 11
    assert found == {name: None if name == "7" else Account("owner", name.encode()) for name in names}
    assert [len(params[0]) for _, params in told.asked] == [100, 100, 50]
    assert await Node(told).accounts([]) == (0, {})


async def test_height_and_slot_are_of_one_answer() -> None:
    told = Told(getEpochInfo={"absoluteSlot": 500, "blockHeight": 450, "epoch": 1})
    assert await Node(told).height() == Height(450, 500)
    assert told.asked == [("getEpochInfo", ({"commitment": "confirmed"},))]


async def test_the_newest_block_hash() -> None:
    told = Told(getLatestBlockhash=at(9, {"blockhash": "hash", "lastValidBlockHeight": 600}))
    assert await Node(told).blockhash() == Blockhash("hash", 600)


@pytest.mark.parametrize(
    ("status", "landed"),
    [
        (None, None),
        ({"slot": 5, "err": None, "confirmationStatus": "processed"}, None),
        ({"slot": 5, "err": None, "confirmationStatus": "confirmed"}, Landed(5, None)),
        ({"slot": 5, "err": {"InstructionError": [1, {"Custom": 6001}]}, "confirmationStatus": "finalized"}, ...),
        ({"slot": 5, "err": {"InstructionError": [1, {"Custom": 6001}]}, "confirmationStatus": "processed"}, None),
        ({"slot": 5, "err": None, "confirmationStatus": None}, None),
    ],
)
@pytest.mark.parametrize("history", [False, True])
async def test_what_is_only_processed_is_unknown(status: Any, landed: Any, history: bool) -> None:
    told = Told(getSignatureStatuses=at(77, [status]))
    if landed is ...:
        landed = Landed(5, status["err"])
    # Of the slot that holds it, and of those after it, this node does not know what others know for sure.
    slot = 77 if status is None or landed is not None else 4
    assert await Node(told).status("signature", search_history=history) == Known(slot, landed)
    assert told.asked == [("getSignatureStatuses", (["signature"], {"searchTransactionHistory": history}))]


async def test_transactions_go_to_the_sender_and_are_neither_simulated_nor_repeated_by_it() -> None:
    reader, sender = Told(), Told(sendTransaction="signature")
    await Node(reader, sender).send(b"\x01\x02")
    options = {"encoding": "base64", "skipPreflight": True, "maxRetries": 0}
    assert sender.asked == [("sendTransaction", ("AQI=", options))]
    assert reader.asked == []


async def test_the_ledger_tells_what_an_owner_received() -> None:
    def balance(owner: str, mint: str, amount: int) -> dict[str, Any]:
        return {"owner": owner, "mint": mint, "uiTokenAmount": {"amount": str(amount)}, "accountIndex": 1}

    told = Told(
        getTransaction={
            "slot": 8,
            "version": 0,
            "transaction": {"message": {"accountKeys": ["me", "account"]}, "signatures": ["signature"]},
            "meta": {
                "err": None,
                "fee": 5000,
                "preBalances": [100, 0, 7],
                "postBalances": [90, 5, 7],
                "loadedAddresses": {"writable": ["table"], "readonly": []},
                "preTokenBalances": [balance("me", "A", 50), balance("pool", "B", 900)],
                "postTokenBalances": [balance("me", "A", 20), balance("me", "B", 30), balance("pool", "B", 870)],
                "logMessages": ["Program log: hello"],
            },
        }
    )
    ledger = await Node(told).ledger("signature")
    assert ledger is not None
    assert (ledger.fee, ledger.lamports) == (5000, (("me", 100, 90), ("account", 0, 5), ("table", 7, 7)))
    assert (ledger.signature, ledger.payer) == ("signature", "me")
    assert (ledger.received("me", "A"), ledger.received("me", "B"), ledger.received("you", "B")) == (-30, 30, 0)
    assert told.asked[0][1][1]["maxSupportedTransactionVersion"] == 1
    assert await Node(Told(getTransaction=None)).ledger("signature") is None


async def test_a_simulation_gives_the_accounts_afterwards() -> None:
    value = {"err": None, "logs": ["a"], "unitsConsumed": 99, "accounts": [account(b"x"), None]}
    told = Told(simulateTransaction=at(3, value))
    simulated = await Node(told).simulate(b"tx", ["one", "two"])
    assert (simulated.error, simulated.units, simulated.logs) == (None, 99, ("a",))
    assert simulated.accounts == {"one": Account("owner", b"x"), "two": None}
    assert simulated.blockhash is None


async def test_a_simulation_tells_the_block_hash_that_it_was_tried_with() -> None:
    value = {"err": None, "replacementBlockhash": {"blockhash": "hash", "lastValidBlockHeight": 600}}
    assert (await Node(Told(simulateTransaction=at(3, value))).simulate(b"tx", [])).blockhash == Blockhash("hash", 600)


async def test_a_failed_simulation_has_no_accounts() -> None:
    value = {"err": {"InstructionError": [2, {"Custom": 6005}]}, "logs": None, "accounts": None}
    simulated = await Node(Told(simulateTransaction=at(3, value))).simulate(b"tx", ["one"])
    assert simulated.error == {"InstructionError": [2, {"Custom": 6005}]}
    assert simulated.accounts == {"one": None}


async def test_pools_are_found_by_size_and_mints_without_their_bytes() -> None:
    told = Told(getProgramAccounts=[{"pubkey": "p1", "account": {}}, {"pubkey": "p2", "account": {}}])
    assert await Node(told).pools("program", 637, {168: "A", 200: "B"}) == ["p1", "p2"]
    (_, (program, options)) = told.asked[0]
    assert program == "program"
    assert options["filters"] == [
        {"dataSize": 637},
        {"memcmp": {"offset": 168, "bytes": "A"}},
        {"memcmp": {"offset": 200, "bytes": "B"}},
    ]
    assert options["dataSlice"] == {"offset": 0, "length": 0}


CALLS: dict[str, Callable[[Node], Awaitable[Any]]] = {
    "getMultipleAccounts": lambda node: node.accounts(["a"]),
    "getLatestBlockhash": lambda node: node.blockhash(),
    "getEpochInfo": lambda node: node.height(),
    "getSignatureStatuses": lambda node: node.status("s", search_history=True),
    "simulateTransaction": lambda node: node.simulate(b"", ["a"]),
    "getTransaction": lambda node: node.ledger("s"),
    "getRecentPrioritizationFees": lambda node: node.priority_fees(["a"]),
    "getProgramAccounts": lambda node: node.pools("p", 1, {}),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize(
    "odd",
    [
        0,
        "text",
        [],
        [[]],
        {},
        {"context": {}, "value": None},
        at(1, []),
        at(1, [{}]),
        at(1, [{"data": ["=", "base64"], "owner": "o"}]),
        at(1, [{"data": ["", "base58"], "owner": "o"}]),
        at(True, [None]),
        {"blockHeight": "7", "absoluteSlot": 9},
        {"slot": 1, "meta": {}, "transaction": {"message": {"accountKeys": []}}},
    ],
)
async def test_an_answer_of_another_shape_is_no_answer(method: str, odd: Any) -> None:
    if (method, odd) in (("getRecentPrioritizationFees", []), ("getProgramAccounts", [])):
        return
    with pytest.raises(NodeUnavailable, match=method):
        await CALLS[method](Node(Told(**{method: odd})))
