"""The stack's node, asked directly."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from local.solana.genesis import TAXED
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT
from order_engine.venues.solana.addresses import TOKEN, TOKEN_2022, token_account

MINTS = {**{token.symbol: token.mint for token in (SOL, USDC, USDT, BONK, JUP)}, "TAXED": TAXED.mint}


@dataclass
class Node:
    """The stack's node, asked directly."""

    url: str
    wallet: str

    def call(self, method: str, *params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["result"]

    def changes(self, signature: str) -> tuple[Counter[str], int, str, int]:
        """What a transaction did to the wallet's tokens and lamports, its notes, and its block's time in seconds."""
        options = {"commitment": "confirmed", "maxSupportedTransactionVersion": 1}
        found = self.call("getTransaction", signature, options)
        assert found["meta"]["err"] is None
        tokens: Counter[str] = Counter()
        for sign, when in ((-1, "preTokenBalances"), (1, "postTokenBalances")):
            for held in found["meta"][when]:
                if held["owner"] == self.wallet:
                    tokens[held["mint"]] += sign * int(held["uiTokenAmount"]["amount"])
        lamports = found["meta"]["postBalances"][0] - found["meta"]["preBalances"][0]
        return tokens, lamports, " ".join(found["meta"]["logMessages"]), found["blockTime"]

    def data(self, address: str) -> bytes:
        """The bytes of an account."""
        account = self.call("getAccountInfo", address, {"encoding": "base64", "commitment": "processed"})
        return base64.b64decode(account["value"]["data"][0])

    def holdings(self) -> Counter[str]:
        """Base units of every token of the wallet; its lamports under ``lamports``."""
        held = Counter({"lamports": self.call("getBalance", self.wallet)["value"]})
        for mint in MINTS.values():
            program = TOKEN_2022 if mint == TAXED.mint else TOKEN
            held[mint] = int.from_bytes(self.data(token_account(self.wallet, mint, program))[64:72], "little")
        return held


DECIMALS = {"SOL": 9, "USDC": 6, "USDT": 6, "BONK": 5, "JUP": 6, "TAXED": 6}


def units(amount: str, symbol: str) -> int:
    return int(Decimal(amount).scaleb(DECIMALS[symbol]))
