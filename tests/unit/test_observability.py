"""Metrics in CloudWatch's embedded format, and what the dashboard and the alarms make of them."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from order_engine import observability
from order_engine.domain import lifecycle
from order_engine.domain.order import (
    Failure,
    Fill,
    Lease,
    Order,
    OrderRef,
    OrderRequest,
    Routed,
    SignedTransaction,
)
from order_engine.domain.quote import Candidate, Decision, Leg
from order_engine.domain.tokens import SOL, USDC
from order_engine.engine.observer import Note
from order_engine.observability import LogObserver

type Json = Any

REQUEST = OrderRequest("market", SOL, USDC, 10**9, 50)
LEG = Leg("raydium", "3WgEvEx2bvaNKAzSw6CjNSU4YyFMPbUe5kDbzgT5zeUw", SOL.mint, USDC.mint, 10**9, 150 * 10**6)
CHOSEN = Candidate("raydium", "single", (LEG,), LEG.amount_out, LEG.amount_out - 1, Decimal("4.00"))
DECISION = Decision(CHOSEN, (CHOSEN,), (), "Only one.", Decimal("1.25"), None, 5000)
TX = SignedTransaction("signature-of-the-transaction", "c2lnbmVkIGJ5dGVzIG9mIHRoZSBzd2Fw", 1000)


def claimed(at: int = 1000) -> Order:
    order = lifecycle.place(OrderRef("alice", "order-1"), REQUEST, "f", at)
    return lifecycle.claim(order, Lease("worker", at + 20_000), at + 40)


def submitted(order: Order) -> Order:
    at = order.updated_at
    return lifecycle.submit(lifecycle.route(order, Routed(DECISION, 1), at + 200), TX, at + 230)


def confirmed(order: Order) -> Order:
    return lifecycle.confirm(order, Fill(TX.signature, 1, 1), order.updated_at + 2500)


def history(order: Order) -> Iterator[Order]:
    """The order as it was after each of its events."""
    for number in range(1, len(order.events) + 1):
        yield Order(order.ref, order.request, order.created_at, order.fingerprint, order.events[:number])


def written(*orders: Order) -> tuple[dict[str, Json], str]:
    """The embedded metrics of one invocation that told of these orders, and all that it logged."""
    log = io.StringIO()
    handler: Any = observability.logger.registered_handler
    former = handler.setStream(log)
    try:
        with contextlib.redirect_stdout(log), observability.invocation("local", "process", "request"):
            for order in orders:
                LogObserver().changed(order)
    finally:
        handler.setStream(former)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return next((line for line in lines if "_aws" in line), {}), log.getvalue()


def test_an_orders_life_is_told_in_metrics() -> None:
    metrics, _ = written(*history(confirmed(submitted(claimed()))))

    assert metrics["Accepted"] == metrics["Confirmed"] == metrics["Executions"] == [1.0]
    assert metrics["Won_raydium"] == [1.0]
    assert metrics["ImprovementBps"] == [1.25]
    assert metrics["LatencyMs"] == [2770.0]
    stages = {name: metrics[f"StageMs_{name}"] for name in ("pending", "routing", "building", "submitted")}
    assert stages == {"pending": [40.0], "routing": [200.0], "building": [30.0], "submitted": [2500.0]}


def test_metrics_have_the_deployment_as_a_dimension() -> None:
    metrics, _ = written(claimed())

    [declared] = metrics["_aws"]["CloudWatchMetrics"]
    assert declared["Namespace"] == "OrderEngine"
    assert sorted(declared["Dimensions"][0]) == ["service", "stage"]
    assert metrics["service"] == "order-engine"
    assert metrics["stage"]


def test_a_failure_is_counted_by_its_reason() -> None:
    order = claimed()
    metrics, _ = written(lifecycle.fail(order, Failure("no_route", "No pool."), order.updated_at + 5))

    assert metrics["Failed"] == metrics["Failed_no_route"] == [1.0]


def test_a_retry_is_counted_and_told_with_its_reason() -> None:
    order = submitted(claimed())
    metrics, log = written(lifecycle.retry(order, Failure("expired", "It expired."), 9000, order.updated_at + 5))

    assert metrics["Retries"] == [1.0]
    assert '"failure_code":"expired"' in log


def test_the_log_never_holds_a_signed_transaction() -> None:
    _, log = written(*history(confirmed(submitted(claimed()))))

    assert TX.signature in log
    assert TX.raw not in log


@pytest.mark.parametrize(
    ("what", "metric"),
    [
        (Note.RESENT, "OrdersResent"),
        (Note.CONFLICT, "ClaimsLost"),
        (Note.PUSH_FAILED, "PushesFailed"),
        (Note.WATCH_FAILED, "SweepFailures"),
    ],
)
def test_what_goes_wrong_is_counted(what: Note, metric: str) -> None:
    log = io.StringIO()
    with contextlib.redirect_stdout(log), observability.invocation("local", "sweep", "request"):
        LogObserver().noted("order-1", what, "why")

    metrics = next(json.loads(line) for line in log.getvalue().splitlines() if "_aws" in line)
    assert metrics[metric] == [1.0]


def test_nothing_is_published_outside_an_invocation(capsys: pytest.CaptureFixture[str]) -> None:
    LogObserver().changed(claimed())

    assert "_aws" not in capsys.readouterr().out


def listed() -> Callable[[str], bool]:
    """Whether the module's list of metrics has a name."""
    names = set(re.findall(r"\b[A-Z][A-Za-z]+(?:_<[a-z]+>)?", observability.__doc__ or ""))
    prefixes = tuple(name.partition("<")[0] for name in names if "<" in name)
    return lambda name: name in names or name.startswith(prefixes)


def test_every_metric_that_is_written_is_in_the_list() -> None:
    metrics, _ = written(*history(confirmed(submitted(claimed()))))
    [declared] = metrics["_aws"]["CloudWatchMetrics"]
    known = listed()

    assert [metric["Name"] for metric in declared["Metrics"] if not known(metric["Name"])] == []
    assert not known("Unheard")
