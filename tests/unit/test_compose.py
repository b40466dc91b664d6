"""Engines are values: several live in one process, and nothing of one reaches another."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from local.cloud import events
from order_engine.compose import Engine, Stores, compose
from order_engine.domain.order import OrderRef, OrderRequest, Status
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.observer import Silent
from order_engine.settings import ExecutionSettings, PaperSettings, Settings
from order_engine.venues.markets import Paper
from order_engine.wire import messages
from process import handler
from process.batch import SqsEvent
from submit.handler import lambda_handler
from tests.fakes.engine import engine_with
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.support.clock import StandingClock
from tests.support.events import Context

_REQUEST = OrderRequest("market", SOL, USDC, 1_500_000_000, 100)
_QUICK: dict[str, Any] = {"quote_delay_ms": 0, "landing_min_ms": 0, "landing_max_ms": 0}


def _engine(failure_rate: float, stage: str) -> tuple[Engine, FakeOrders]:
    clock, orders = StandingClock(), FakeOrders()
    settings = Settings(
        stage=stage,
        paper=PaperSettings(failure_rate=failure_rate, **_QUICK),
        execution=ExecutionSettings(landing_poll_ms=1, max_retries=0),
    )
    queue = FakeQueue(clock.now_ms)
    stores = engine_with(orders=orders, queue=queue, quarantine=queue, origin_keys=None).stores
    market = Paper(settings, clock)
    return compose(settings, clock=clock, market=market, stores=stores, observer=Silent()), orders


async def _execute(engine: Engine) -> OrderRef:
    ref = (await engine.place("alice", _REQUEST)).order.ref
    await asyncio.sleep(0)
    record: SqsEvent = events.messages(messages.encode(ref))
    assert await handler.handle(engine, record, Context()) == {"batchItemFailures": []}
    return ref


async def test_two_engines_of_different_settings_serve_side_by_side() -> None:
    (lucky, hers), (unlucky, his) = _engine(0.0, "lucky"), _engine(1.0, "unlucky")
    one, other = await asyncio.gather(_execute(lucky), _execute(unlucky))
    assert [order.status for order in hers.stored.values()] == [Status.CONFIRMED]
    assert [order.status for order in his.stored.values()] == [Status.FAILED]
    assert set(hers.stored) == {one}
    assert set(his.stored) == {other}


def test_a_handler_serves_the_engine_that_it_is_put_over() -> None:
    event = events.http("GET", "/health", {})
    handlers = [lambda_handler.over(_engine(0.0, stage)[0]) for stage in ("one", "other")]
    handlers.append(lambda_handler.within({"STAGE": "third"}))
    bodies = [found(event, Context())["body"] for found in (*handlers, *handlers)]
    assert bodies == [f'{{"status":"ok","stage":"{stage}"}}' for stage in ("one", "other", "third") * 2]


def test_nothing_is_made_before_it_is_used() -> None:
    """A function pays for what it does: importing its handler opens nothing and imports no adapter."""
    stores = cast(Stores, object())
    engine = compose(Settings(), clock=StandingClock(), market=Paper(Settings(), StandingClock()), stores=stores)
    assert set(vars(engine)) == {"settings", "clock", "market", "stores", "observer", "order_id", "worker_name"}
