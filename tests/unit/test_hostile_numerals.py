"""Every door through which text becomes a number: a hostile one gets a clear error, at once, and harms nothing."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

import local.__main__ as runner
from cli import numerals as cli_numerals
from cli import render, stream
from cli.client import Client
from infra.config import Config, ConfigError
from order_engine.aws import codec, indexes
from order_engine.domain import lifecycle, numerals
from order_engine.domain.amounts import U64_MAX, parse_amount
from order_engine.domain.errors import InvalidAmount, InvalidInput
from order_engine.domain.order import OrderRef, OrderRequest
from order_engine.domain.tokens import SOL
from order_engine.engine.accept import check_expiry
from order_engine.engine.place import fingerprint
from order_engine.settings import Settings, SettingsError, names
from order_engine.venues.paper.tokens import TOKENS
from order_engine.wire import exact_json, messages, times
from order_engine.wire.requests import MAX_SLIPPAGE_BPS, PlaceOrderBody
from order_engine.wire.views import order_view
from tests.support.orders import T0, an_order
from tests.unit.hostile import little_work
from tests.unit.hostile import numerals as hostile

NUMBERS = ("amountIn", "limitPrice", "slippage", "slippageBps")
MARKET = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}
LIMIT = {**MARKET, "type": "limit", "limitPrice": "150"}


def accepted(body: str) -> OrderRequest | None:
    """What the body asks for; None if it is refused with an error that a person is told."""
    try:
        request = PlaceOrderBody.model_validate(exact_json.read(body.encode())).to_request(TOKENS)
        check_expiry(request, T0)
    except (InvalidInput, ValidationError):
        return None
    return request


def body_with(field: str, written: str) -> str:
    """An order whose field holds exactly this text, which need not be JSON."""
    order = {name: value for name, value in (LIMIT if field == "limitPrice" else MARKET).items() if name != field}
    return f'{json.dumps(order)[:-1]},"{field}":{written}}}'


@given(st.sampled_from(NUMBERS), hostile(), st.booleans())
@example("amountIn", "1e999999999", False)
@example("amountIn", "1e-999999999", False)
@example("limitPrice", "1e999999999", False)
@example("limitPrice", "1e-999999999", False)
@example("slippage", "1e999999999", False)
@example("slippage", "1e-999999999", False)
@example("slippageBps", "1e999999999", False)
@example("amountIn", "1" + "0" * 5000, False)
def test_an_orders_number_is_refused_or_of_a_size_that_can_be_meant(field: str, text: str, quoted: bool) -> None:
    body = body_with(field, json.dumps(text) if quoted else text)
    with little_work():
        request = accepted(body)
        if request is not None:
            order = lifecycle.place(OrderRef("user", "order"), request, fingerprint(request), T0)
            assert codec.from_item(codec.to_item(order)) == order
            json.dumps(order_view(order))
    if request is None:
        return
    assert 0 < request.amount_in <= U64_MAX
    assert 0 <= request.slippage_bps <= MAX_SLIPPAGE_BPS
    assert request.limit_price is None or numerals.bounded(request.limit_price) > 0


@pytest.mark.parametrize("field", ["amountIn", "limitPrice", "slippage"])
@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "1" + "0" * 5000, "0." + "0" * 5000 + "1"])
def test_an_overlong_number_is_blamed_on_its_field(field: str, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        PlaceOrderBody.model_validate(exact_json.read(body_with(field, text)))
    [error] = refused.value.errors()
    assert error["loc"] == (field,)
    assert "more digits than any amount can have" in error["msg"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"amountIn": NaN}', "NaN is not a number"),
        ('{"amountIn": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1, "a": 2}', "a name stands twice"),
        ('{"a": {"b": 1, "b": 2}}', "a name stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("{,}", "UTF-8"),
        (b"\xff", "UTF-8"),
        ("", "UTF-8"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_json_that_is_not_taken_is_told_why(text: str | bytes, why: str) -> None:
    with little_work(), pytest.raises(exact_json.NotJson) as refused:
        exact_json.read(text)
    assert why in refused.value.message


@given(hostile())
@example("1" + "0" * 5000)
def test_any_json_text_is_read_or_refused(text: str) -> None:
    with little_work(), contextlib.suppress(exact_json.NotJson):
        exact_json.read(text)
    with little_work(), contextlib.suppress(messages.Unreadable):
        messages.decode(text)


def test_numbers_in_json_stay_exact_and_minus_zero_is_zero() -> None:
    read = exact_json.read('{"a": 0.1000000000000000000000000001, "b": 18446744073709551616, "c": -0, "d": 1e2}')
    assert read == {"a": Decimal("0.1000000000000000000000000001"), "b": 2**64, "c": 0, "d": Decimal(100)}
    assert accepted(body_with("amountIn", "-0")) is None
    assert accepted(body_with("amountIn", "1E-2")) == accepted(body_with("amountIn", '"0.01"'))


@given(hostile())
@example("1e999999999")
def test_an_amount_of_the_domain_is_bounded_too(text: str) -> None:
    with little_work():
        try:
            units = parse_amount(text, SOL)
        except InvalidAmount:
            return
    assert 0 < units <= U64_MAX


@pytest.mark.parametrize(
    "number", [10**5000, -(10**5000), Decimal("1e999999999"), Decimal("nan"), Decimal("-inf")], ids=type
)
def test_a_number_that_is_one_already_is_bounded_too(number: Decimal | int) -> None:
    with little_work(), pytest.raises(InvalidAmount):
        parse_amount(number, SOL)
    with little_work(), pytest.raises(numerals.NotANumeral):
        numerals.bounded(number)


@given(st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,19})?", fullmatch=True))
def test_what_can_be_meant_is_read_exactly(text: str) -> None:
    assert numerals.read_decimal(text) == Decimal(text)


@given(hostile())
@example("2026-W47-6")
@example("2026W476")
@example("2026-325T01:02:03Z")
@example("20261121T010203Z")
@example("2026-11-21")
@example("2026-11-21T01:02:03,5Z")
@example("\uff12\uff10\uff12\uff16-11-21T01:02:03Z")
@example("2026-11-21T24:00:00Z")
@example("2026-11-21T01:02Z")
def test_no_other_text_is_a_time(text: str) -> None:
    with little_work(), pytest.raises(InvalidInput):
        times.from_text(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01t00:00:01.5z", 1500),
        ("1970-01-01 01:00:00.123456789+01:00", 123),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
    ],
)
def test_a_time_is_read_to_the_millisecond(text: str, ms: int) -> None:
    assert times.from_text(text) == ms


def flat(settings: Any) -> dict[str, Any]:
    """All settings by name, of whatever group."""
    found: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        found |= flat(value) if is_dataclass(value) else {item.name: value}
    return found


def test_every_number_among_the_settings_is_looked_at() -> None:
    numbers = [name for name, value in flat(Settings()).items() if isinstance(value, int | float)]
    assert {"failure_rate", "lease_ms", "reads_burst", "priority_fee_percentile", "order_retention_days"} < set(numbers)
    assert {name.upper() for name in flat(Settings())} == set(names())


@given(hostile())
@example("1e5")
@example("nan")
@example("1_000")
def test_a_setting_is_a_plain_number_or_refused(text: str) -> None:
    for name, default in flat(Settings()).items():
        if not isinstance(default, int | float):
            continue
        with little_work():
            try:
                settings = Settings.load({name.upper(): text})
            except SettingsError:
                continue
        assert 0 <= flat(settings)[name] < 10**12


@given(hostile())
def test_a_context_value_is_a_plain_number_or_refused(text: str) -> None:
    names = ("batchSize", "ordersPerMinute", "logRetentionDays", "reservedConcurrency", "failureRate", "quoteDelayMs")
    for name in names:
        with little_work(), contextlib.suppress(ConfigError):
            Config.from_context({name: text})


_CLI: list[Callable[[str], object]] = [
    cli_numerals.whole(0, 10_000),
    cli_numerals.number(0.1, 500),
    cli_numerals.amount,
    cli_numerals.percent,
]


@given(hostile())
@example("nan")
@example("1e999999999")
def test_a_number_of_the_command_line_is_refused_as_a_usage_error(text: str) -> None:
    for parse in _CLI:
        with little_work(), contextlib.suppress(typer.BadParameter):
            found = parse(text)
            assert len(str(found)) < 100
    with little_work(), contextlib.suppress(argparse.ArgumentTypeError):
        assert 0 <= runner._port(text) <= 65_535


@pytest.mark.parametrize(
    "amount", [Decimal("1e999999999"), Decimal("1e-999999999"), 10**5000, Decimal("nan")], ids=type
)
async def test_the_client_sends_no_number_that_takes_a_gigabyte_to_write(amount: Decimal | int) -> None:
    async with Client("http://127.0.0.1:1", "oek_x") as client:
        for arguments in ((amount, None), ("1", amount)):
            with little_work(), pytest.raises(ValueError, match=r"digits|finite"):
                await client.place("SOL", "USDC", arguments[0], limit_price=arguments[1])


@given(hostile())
@example("1e999999999")
@example("1e-999999999")
@example("9" * 4301)
def test_a_figure_of_whatever_answers_in_the_engines_place_is_shown_at_once(text: str) -> None:
    with little_work():
        assert len(render.number(text)) < 200
    with little_work(), contextlib.suppress(Exception):
        stream._parse(text)


def test_a_frame_that_is_nested_without_end_loses_the_connection_and_no_more() -> None:
    with little_work(), pytest.raises(stream._Lost):
        stream._parse("[" * 100_000)


@given(hostile())
@example("1e999999999")
@example("1" + "0" * 5000)
def test_a_stored_number_that_cannot_be_meant_makes_the_item_corrupt(text: str) -> None:
    """What an earlier version may have stored, or another hand."""
    item: Any = codec.to_item(an_order(limit="150"))
    request = json.loads(item["request"]["S"])
    item["request"] = {"S": json.dumps({**request, "l": text})}
    with little_work():
        try:
            order = codec.from_item(item)
            indexes.index_keys(order)
        except codec.Corrupt:
            return
    assert order.request.limit_price is not None
    numerals.bounded(order.request.limit_price)
