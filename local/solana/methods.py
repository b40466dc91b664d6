"""The node's methods, as far as the engine and its tests call them. Source: solana.com/docs/rpc."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.message import MessageV1
from solders.transaction import VersionedTransaction

from local.solana.inner import inner_of
from local.solana.landed import ledger_of, memo_of
from local.solana.ledger import CONFIRMED_AFTER, FINALIZED_AFTER, SLOTS_PER_EPOCH, VALID_BLOCKS, Chain, Landed
from order_engine.domain import base58

_INVALID_PARAMS, _METHOD_NOT_FOUND = -32602, -32601
_PREFLIGHT_FAILED, _SIGNATURE_FAILED, _NO_BLOCK, _BEHIND_MIN_CONTEXT = -32002, -32003, -32004, -32016
_COMMITMENTS = ("processed", "confirmed", "finalized")
_MOST_ACCOUNTS, _MOST_BLOCKS = 100, 500_000


class Refusal(Exception):
    """An error of JSON-RPC."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True, slots=True)
class _View:
    """One node's idea of the chain.

    Attributes:
        tip: the newest slot that it knows of.
        common: up to which slot it has what the others have; its blocks after it will die.
        lacks: from which slot to which it has no block: it was not there, or has thrown them away.
    """

    tip: int
    common: int
    lacks: tuple[int, int] = (0, 0)

    def has(self, slot: int) -> bool:
        """Whether a slot's block is in its ledger."""
        return slot <= self.common and not self.lacks[0] <= slot < self.lacks[1]

    def at(self, commitment: str) -> int:
        """The newest slot that has reached a commitment."""
        behind = {"confirmed": CONFIRMED_AFTER, "finalized": FINALIZED_AFTER}
        return self.tip if commitment == "processed" else min(self.common, self.tip - behind[commitment])

    def commitment_of(self, slot: int) -> str | None:
        """How far a slot has come; None where this node does not know it yet."""
        reached = [name for name in _COMMITMENTS if slot <= self.at(name)]
        return reached[-1] if reached else None


class Methods:
    """Answers requests. Each is answered by the next of the nodes that stand behind the one address."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.asked: dict[str, int] = {}
        self._turn = itertools.count()
        self._methods: dict[str, Callable[[_View, list[Any]], Any]] = {
            "getAccountInfo": self._account_info,
            "getBalance": self._balance,
            "getBlock": self._block,
            "getBlocksWithLimit": self._blocks,
            "getBlockHeight": lambda view, p: self.chain.height(view.at(_commitment(_options(p, 0)))),
            "getEpochInfo": self._epoch_info,
            "getFirstAvailableBlock": lambda view, _p: self._first_slot(view),
            "getHealth": lambda _view, _p: "ok",
            "getLatestBlockhash": self._latest_blockhash,
            "getMultipleAccounts": self._multiple_accounts,
            "getProgramAccounts": self._program_accounts,
            "getRecentPrioritizationFees": self._priority_fees,
            "getSignaturesForAddress": self._signatures_for,
            "getSignatureStatuses": self._statuses,
            "getSlot": lambda view, p: view.at(_commitment(_options(p, 0))),
            "getTransaction": self._transaction,
            "isBlockhashValid": self._blockhash_valid,
            "minimumLedgerSlot": lambda view, _p: self._first_slot(view),
            "requestAirdrop": self._airdrop,
            "sendTransaction": self._send,
            "simulateTransaction": self._simulate,
        }

    def call(self, method: str, params: list[Any]) -> Any:
        """The result of one request.

        Raises:
            Refusal: an error of JSON-RPC.
        """
        self.asked[method] = self.asked.get(method, 0) + 1
        handler = self._methods.get(method)
        if handler is None:
            raise Refusal(_METHOD_NOT_FOUND, "Method not found")
        weather, turn = self.chain.weather, next(self._turn)
        tip = self.chain.advance() - weather.lags[turn % len(weather.lags)]
        view = _View(tip, tip - weather.forks[turn % len(weather.forks)], weather.lacks[turn % len(weather.lacks)])
        options = next((p for p in params if isinstance(p, dict)), {})
        wanted = options.get("minContextSlot")
        if wanted is not None and view.at(_commitment(options)) < wanted:
            raise Refusal(_BEHIND_MIN_CONTEXT, "Minimum context slot has not been reached")
        try:
            return handler(view, params)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Refusal(_INVALID_PARAMS, f"Invalid params: {error}") from error

    # --- accounts

    def _account_info(self, view: _View, p: list[Any]) -> Any:
        return _answer(view, _options(p, 1), _account(self.chain.account(p[0]), _options(p, 1)))

    def _balance(self, view: _View, p: list[Any]) -> Any:
        account = self.chain.account(p[0])
        return _answer(view, _options(p, 1), 0 if account is None else account.lamports)

    def _multiple_accounts(self, view: _View, p: list[Any]) -> Any:
        if len(p[0]) > _MOST_ACCOUNTS:
            raise Refusal(_INVALID_PARAMS, f"Too many inputs provided; max {_MOST_ACCOUNTS}")
        return _answer(view, _options(p, 1), [_account(self.chain.account(name), _options(p, 1)) for name in p[0]])

    def _program_accounts(self, view: _View, p: list[Any]) -> Any:
        options = _options(p, 1)
        found = [
            {"pubkey": name, "account": _account(account, options)}
            for name, account in self.chain.program_accounts(p[0])
            if all(_passes(account.data, each) for each in options.get("filters", ()))
        ]
        return _answer(view, options, found) if options.get("withContext") else found

    # --- time

    def _epoch_info(self, view: _View, p: list[Any]) -> Any:
        slot = view.at(_commitment(_options(p, 0)))
        return {
            "absoluteSlot": slot,
            "blockHeight": self.chain.height(slot),
            "epoch": slot // SLOTS_PER_EPOCH,
            "slotIndex": slot % SLOTS_PER_EPOCH,
            "slotsInEpoch": SLOTS_PER_EPOCH,
            "transactionCount": len(self.chain.landed),
        }

    def _latest_blockhash(self, view: _View, p: list[Any]) -> Any:
        slot = view.at(_commitment(_options(p, 0)))
        value = {
            "blockhash": str(self.chain.blockhash(slot)),
            "lastValidBlockHeight": self.chain.height(slot) + VALID_BLOCKS,
        }
        return _answer(view, _options(p, 0), value)

    def _blockhash_valid(self, view: _View, p: list[Any]) -> Any:
        tip = view.at(_commitment(_options(p, 1)))
        good = any(str(self.chain.blockhash(slot)) == p[0] for slot in range(tip - VALID_BLOCKS, tip + 1))
        return _answer(view, _options(p, 1), good)

    def _block(self, view: _View, p: list[Any]) -> Any:
        options = _options(p, 1)
        if options.get("transactionDetails") != "none" or options.get("rewards") is not False:
            raise Refusal(_INVALID_PARAMS, "Invalid params: this node tells no block's transactions")
        slot = int(p[0])
        if slot > view.at(_commitment(options)) or not view.has(slot):
            raise Refusal(_NO_BLOCK, f"Block not available for slot {slot}")
        return {
            "blockhash": str(self.chain.blockhash(slot)),
            "blockHeight": self.chain.height(slot),
            "blockTime": self.chain.unix_time(slot),
            "parentSlot": slot - 1,
            "previousBlockhash": str(self.chain.blockhash(slot - 1)),
        }

    def _blocks(self, view: _View, p: list[Any]) -> list[int]:
        newest = view.at(_commitment(_options(p, 2)))
        slots = (slot for slot in range(int(p[0]), newest + 1) if view.has(slot))
        return list(itertools.islice(slots, min(int(p[1]), _MOST_BLOCKS)))

    def _first_slot(self, view: _View) -> int:
        return view.lacks[1] if view.lacks[0] == 0 else 0

    def _priority_fees(self, view: _View, _p: list[Any]) -> Any:
        fee = self.chain.weather.priority_fee
        return [{"slot": view.tip - n, "prioritizationFee": fee * (n % 10) // 5} for n in range(VALID_BLOCKS)]

    # --- transactions

    def _send(self, view: _View, p: list[Any]) -> str:
        options = _options(p, 1)
        transaction = _parse(p[0], options)
        if not all(transaction.verify_with_results()):
            raise Refusal(_SIGNATURE_FAILED, "Transaction signature verification failure")
        if not options.get("skipPreflight"):
            done = self.chain.simulate(transaction)
            if done.error is not None:
                data = {"err": done.error, "logs": done.logs, "unitsConsumed": done.units, "accounts": None}
                raise Refusal(_PREFLIGHT_FAILED, f"Transaction simulation failed: {done.error}", data)
        self.chain.send(transaction)
        return str(transaction.signatures[0])

    def _simulate(self, view: _View, p: list[Any]) -> Any:
        options = _options(p, 1)
        transaction = _parse(p[0], options)
        done = self.chain.simulate(transaction)
        wanted = (options.get("accounts") or {}).get("addresses") or []
        accounts = None
        if done.error is None and wanted:
            given = options["accounts"]
            accounts = [_account(done.accounts.get(name) or self.chain.account(name), given) for name in wanted]
        value = {
            "err": done.error,
            "logs": done.logs,
            "unitsConsumed": done.units,
            "accounts": accounts,
            "returnData": None,
            "innerInstructions": inner_of(transaction, done.inner) if options.get("innerInstructions") else None,
        }
        if options.get("replaceRecentBlockhash"):
            value["replacementBlockhash"] = self._latest_blockhash(view, [options])["value"]
        return _answer(view, options, value)

    def _statuses(self, view: _View, p: list[Any]) -> Any:
        history = bool(_options(p, 1).get("searchTransactionHistory"))
        found: list[dict[str, Any] | None] = []
        for signature in p[0]:
            landed = self._known(view, signature)
            forgotten = landed is not None and landed.slot < view.tip - self.chain.weather.forgets_after
            if landed is None or (forgotten and not history):
                found.append(self._vanishing(view, signature))
                continue
            reached = view.commitment_of(landed.slot)
            confirmations = None if reached == "finalized" else view.tip - landed.slot
            found.append(
                {
                    "slot": landed.slot,
                    "confirmations": confirmations,
                    "err": landed.error,
                    "status": {"Ok": None} if landed.error is None else {"Err": landed.error},
                    "confirmationStatus": reached,
                }
            )
        return {"context": {"slot": view.tip, "apiVersion": "4.0.0"}, "value": found}

    def _transaction(self, view: _View, p: list[Any]) -> Any:
        options = _options(p, 1)
        landed = self._known(view, p[0])
        if landed is None or landed.slot > view.at(_commitment(options)):
            return None
        version = 1 if isinstance(landed.transaction.message, MessageV1) else 0
        if options.get("maxSupportedTransactionVersion", -1) < version:
            raise Refusal(-32015, f"Transaction version ({version}) is not supported by the requesting client")
        return ledger_of(landed, version)

    def _signatures_for(self, view: _View, p: list[Any]) -> Any:
        options = _options(p, 1)
        newest = sorted(self.chain.landed.items(), key=lambda item: (item[1].slot, item[0]), reverse=True)
        names = [
            (signature, landed)
            for signature, landed in newest
            if landed.slot <= view.at(_commitment(options))
            and view.has(landed.slot)
            and p[0] in [str(key) for key in landed.transaction.message.account_keys]
        ]
        before, until = options.get("before"), options.get("until")
        if before is not None:
            at = next((n for n, (signature, _) in enumerate(names) if signature == before), len(names) - 1)
            names = names[at + 1 :]
        if until is not None:
            names = list(itertools.takewhile(lambda named: named[0] != until, names))
        return [
            {
                "signature": signature,
                "slot": landed.slot,
                "err": landed.error,
                "blockTime": landed.block_time,
                "memo": memo_of(landed),
                "confirmationStatus": view.commitment_of(landed.slot),
            }
            for signature, landed in names[: options.get("limit", 1000)]
        ]

    def _airdrop(self, _view: _View, p: list[Any]) -> str:
        self.chain.airdrop(p[0], int(p[1]))
        return base58.encode(bytes(64))

    def _vanishing(self, view: _View, signature: str) -> dict[str, Any] | None:
        """The status of what is in a block that will die."""
        since, until = self.chain.vanishing.get(signature, (0, 0))
        if not since <= view.tip < until:
            return None
        return {
            "slot": since,
            "confirmations": view.tip - since,
            "err": None,
            "status": {"Ok": None},
            "confirmationStatus": "processed",
        }

    def _known(self, view: _View, signature: str) -> Landed | None:
        landed = self.chain.landed.get(signature)
        return landed if landed is not None and view.has(landed.slot) else None


def _options(params: Sequence[Any], place: int) -> dict[str, Any]:
    given = params[place] if len(params) > place else None
    return given if isinstance(given, dict) else {}


def _commitment(options: dict[str, Any]) -> str:
    name = options.get("commitment", "finalized")
    if name not in _COMMITMENTS:
        raise Refusal(_INVALID_PARAMS, f"Invalid params: unknown commitment {name}")
    return str(name)


def _answer(view: _View, options: dict[str, Any], value: Any) -> dict[str, Any]:
    return {"context": {"slot": view.at(_commitment(options)), "apiVersion": "4.0.0"}, "value": value}


def _account(account: Account | None, options: dict[str, Any]) -> Any:
    if account is None or (account.lamports == 0 and not account.data):
        return None
    data = account.data
    wanted = options.get("dataSlice")
    if wanted is not None:
        data = data[wanted["offset"] : wanted["offset"] + wanted["length"]]
    return {
        "data": [base64.b64encode(data).decode(), "base64"],
        "executable": account.executable,
        "lamports": account.lamports,
        "owner": str(account.owner),
        "rentEpoch": account.rent_epoch,
        "space": len(account.data),
    }


def _passes(data: bytes, wanted: dict[str, Any]) -> bool:
    if "dataSize" in wanted:
        return len(data) == int(wanted["dataSize"])
    at, text = wanted["memcmp"]["offset"], wanted["memcmp"]["bytes"]
    raw = base58.decode(text, 32)
    return bool(data[at : at + len(raw)] == raw)


def _parse(text: str, options: dict[str, Any]) -> VersionedTransaction:
    if options.get("encoding", "base58") != "base64":
        raise Refusal(_INVALID_PARAMS, "Invalid params: this node takes base64 only")
    try:
        raw = base64.b64decode(text, validate=True)
        transaction = VersionedTransaction.from_bytes(raw)
    except (binascii.Error, ValueError) as error:
        raise Refusal(_INVALID_PARAMS, f"Invalid params: failed to deserialize the transaction: {error}") from error
    limit = 4096 if isinstance(transaction.message, MessageV1) else 1232
    if len(raw) > limit:
        raise Refusal(_INVALID_PARAMS, f"Invalid params: the transaction is too large: {len(raw)} bytes (max {limit})")
    return transaction
