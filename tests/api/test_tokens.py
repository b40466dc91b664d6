"""Orders in the tokens that a market lists, through the API, a worker and the stream, and after they left the list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from order_engine.domain.order import Order, OrderRef, SignedTransaction
from order_engine.domain.quote import Pool
from order_engine.domain.token_list import TokenList
from order_engine.domain.tokens import SOL, USDC, Token
from order_engine.engine.ports import Height, Known, Swapped, TransactionStatus
from order_engine.runtime import event_loop
from order_engine.venues.markets import Market
from order_engine.venues.paper.tokens import TOKENS
from order_engine.venues.raydium.cpmm import CpmmPool
from order_engine.wire.views import event_frame
from tests.api.conftest import Deploy
from tests.support.clock import StandingClock
from tests.support.cloud import engine
from tests.support.http import request

WIF = Token("$WIF", "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", 6)
NAMELESS = Token(None, "7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr", 2)
LISTED = TokenList((SOL, USDC, WIF, NAMELESS))


@dataclass(frozen=True)
class _Venue:
    """Pools of SOL against the two that no other test knows."""

    name: str = "raydium"

    async def pools(self, mint_in: str, mint_out: str) -> Sequence[Pool]:
        return (
            CpmmPool("wif", (SOL.mint, WIF.mint), (1_000 * SOL.unit, 100_000 * WIF.unit), 2_500, 0, 0),
            CpmmPool("nameless", (NAMELESS.mint, SOL.mint), (500_000 * NAMELESS.unit, 1_000 * SOL.unit), 2_500, 0, 0),
        )


class _Chain:
    """Everything lands at once, for a base unit more than the least."""

    least = 0

    async def build(self, order: Order, *, min_out: int) -> SignedTransaction:
        self.least = min_out
        return SignedTransaction("signature", "cmF3", 100)

    async def broadcast(self, tx: SignedTransaction) -> None:
        pass

    async def status(self, tx: SignedTransaction, *, search_history: bool) -> Known:
        return Known(1, TransactionStatus(7, self.least + 1))

    async def height(self) -> Height:
        return Height(1, 1)

    async def swaps(self, *, since: int) -> Sequence[Swapped]:
        return ()


@dataclass(frozen=True)
class _Market:
    tokens: TokenList = LISTED
    venues: Sequence[_Venue] = (_Venue(),)
    chain: _Chain = _Chain()  # noqa: RUF009 - it remembers one number, for one test
    lamports_per_leg: int = 10_000


def trade(market: _Market) -> None:
    engine().market = cast(Market, market)


def test_the_list_is_the_markets(deploy: Deploy) -> None:
    deploy()
    assert request("GET", "/api/tokens").json == {
        "tokens": [{"symbol": token.symbol, "mint": token.mint, "decimals": token.decimals} for token in TOKENS]
    }
    trade(_Market())
    assert request("GET", "/api/tokens").json["tokens"][2:] == [
        {"symbol": "$WIF", "mint": WIF.mint, "decimals": 6},
        {"symbol": None, "mint": NAMELESS.mint, "decimals": 2},
    ]


def test_an_order_in_other_tokens_is_executed_and_outlives_its_tokens_listing(
    deploy: Deploy, clock: StandingClock
) -> None:
    deploy()
    trade(_Market())
    asked = {"tokenIn": NAMELESS.mint, "tokenOut": "$WIF", "amountIn": "100.05", "slippageBps": 100}
    finer = request("POST", "/api/orders/execute", body={**asked, "amountIn": "1.001"})
    assert (finer.status, finer.json["code"]) == (422, "invalid_amount")
    quoted = request("GET", "/api/quote", query={k: str(v) for k, v in asked.items() if k != "slippageBps"}).json
    order_id = request("POST", "/api/orders/execute", body=asked).json["orderId"]
    ref = OrderRef("alice", order_id)
    work = engine().execute(ref, worker="w", deadline=clock.now + 10_000)
    event_loop().run_until_complete(work)

    shown = request("GET", f"/api/orders/{order_id}").json
    assert shown["status"] == "confirmed"
    assert (shown["tokenIn"], shown["tokenOut"], shown["amountIn"]) == (NAMELESS.mint, "$WIF", "100.05")
    assert [(leg["tokenIn"], leg["tokenOut"]) for leg in shown["route"]["legs"]] == [
        (NAMELESS.mint, "SOL"),
        ("SOL", "$WIF"),
    ]
    # 100.05 of half a million are 0.02 % of a thousand SOL, and half of a percent of it is lost to the fees.
    assert shown["route"]["legs"][0]["amountOut"].startswith("0.199")
    assert shown["route"]["amountOut"].startswith("19.9")
    assert quoted["route"] == shown["route"]
    assert "through SOL" in shown["reason"]
    assert "$WIF" in shown["reason"]

    trade(replace(_Market(), tokens=TokenList((SOL, USDC))))
    assert request("GET", f"/api/orders/{order_id}").json == shown
    assert request("GET", "/api/orders").json["orders"][0]["amountOut"] == shown["amountOut"]
    refused = request("POST", "/api/orders/execute", body=asked)
    assert (refused.status, refused.json["code"], refused.json["field"]) == (422, "unknown_token", "tokenIn")
    order: Any = event_loop().run_until_complete(engine().stores.orders.get(ref))
    frames = [json.loads(event_frame(order, event)) for event in order.events]
    assert [{k: v for k, v in frame.items() if k not in ("type", "orderId", "schema")} for frame in frames] == shown[
        "events"
    ]


def test_an_order_that_rests_while_its_token_is_unlisted_can_be_read_and_cancelled(
    deploy: Deploy, clock: StandingClock
) -> None:
    deploy()
    trade(_Market())
    asked = {"type": "limit", "tokenIn": "$WIF", "tokenOut": "SOL", "amountIn": "1", "limitPrice": "5"}
    order_id = request("POST", "/api/orders/execute", body=asked).json["orderId"]

    trade(replace(_Market(), tokens=TokenList((SOL, USDC))))

    assert request("GET", f"/api/orders/{order_id}").json["limitPrice"] == "5"
    # The sweeper looks at the pairs that the market lists, and at no other.
    event_loop().run_until_complete(engine().triggers.find_pairs())
    assert event_loop().run_until_complete(engine().triggers.beat(clock.now + 10_000)) == 0
    assert request("DELETE", f"/api/orders/{order_id}").json["status"] == "cancelled"
