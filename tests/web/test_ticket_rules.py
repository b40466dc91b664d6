"""The ticket's rules, run by node: one intent has one name; figures and warnings are true."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_engine.domain.amounts import format_amount, limit_min_out, parse_amount
from order_engine.domain.tokens import SOL, USDC
from tests.web.conftest import Modules

# One intent, one name

type Step = dict[str, Any]

TEXTS = st.sampled_from(["a", "b"])
PRESS = st.builds(lambda text: {"do": "press", "text": text}, TEXTS)
ANSWER = st.builds(lambda how: {"do": "answer", "how": how}, st.sampled_from(["accepted", "silent", "never", "later"]))
AGAIN = st.builds(lambda text: {"do": "again", "text": text}, TEXTS)
RELOAD = st.just({"do": "reload"})
# Mostly what is sent is answered; but anything may happen at any time.
PLAYS = st.lists(st.one_of(st.tuples(PRESS, ANSWER), st.tuples(st.one_of(PRESS, ANSWER, AGAIN, RELOAD))), max_size=20)


@dataclass
class Model:
    """What may be known of the names that were sent, told without the code that keeps them."""

    name_of: dict[str, str] = field(default_factory=dict)  # of each text, the name that was sent last
    used: set[str] = field(default_factory=set)
    under_way: tuple[str, str] | None = None
    silent: set[str] = field(default_factory=set)  # names of which some try had no answer: they may be orders
    placed: dict[str, str] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)  # names whose text may be sent under another name

    def pressed(self, text: str, sent: Any) -> None:
        name = self.name_of.get(text)
        if name is not None and name not in self.released:
            assert sent == (None if self.placed.get(text) == name else {"name": name, "request": text})
        else:
            assert sent["request"] == text
            assert sent["name"] not in self.used
        if sent is not None:
            self.name_of[text] = sent["name"]
            self.used.add(sent["name"])
            self.under_way = (text, sent["name"])

    def answered(self, text: str, name: str, how: str) -> None:
        self.under_way = None
        if how == "accepted":
            # What was placed before is history: the same ticket is a new wish after another one.
            self.released |= {other for its, other in self.placed.items() if its != text}
            self.placed = {text: name}
        elif how == "silent":
            self.silent.add(name)
        elif how == "never" or name not in self.silent:
            self.released.add(name)

    def asked_again(self, text: str) -> None:
        if text in self.placed:
            self.released.add(self.placed.pop(text))

    def reloaded(self) -> None:
        if self.under_way is not None:
            self.silent.add(self.under_way[1])
            self.under_way = None


@settings(max_examples=1000, deadline=None)
@given(plays=PLAYS)
def test_an_intent_keeps_its_name_as_long_as_it_may_have_become_an_order(
    modules: Modules, plays: list[tuple[Step, ...]]
) -> None:
    steps = [step for play in plays for step in play]
    model = Model()
    for step, sent in zip(steps, modules("play", steps), strict=True):
        if step["do"] == "press" and model.under_way is None:
            model.pressed(step["text"], sent)
            continue
        # Nothing but a press ever sends, and none while another is under way.
        assert sent is None
        match step["do"]:
            case "answer" if model.under_way is not None:
                model.answered(*model.under_way, step["how"])
            case "again":
                model.asked_again(step["text"])
            case "reload":
                model.reloaded()


MARKET = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5", "slippage": "0.5"}
LIMIT = {**MARKET, "type": "limit", "limitPrice": "165"}


def quote(amount_out: str = "220.699714", net_out: str = "220.697503", impact: str = "4", **changes: Any) -> Any:
    route = {"amountOut": amount_out, "netOut": net_out, "price": "147.133142667", "priceImpactBps": impact}
    return {"route": route | changes, "networkFeeLamports": 15_000, "tokenIn": "SOL", "tokenOut": "USDC"}


def test_two_ways_to_write_the_same_ticket_are_one(modules: Modules) -> None:
    text = modules("textOf", MARKET, "none")
    assert text == modules("textOf", {**MARKET, "amountIn": "01.500", "slippage": "0.50"}, "day")
    for change in ({"amountIn": "1.51"}, {"tokenOut": "USDT"}, {"slippage": "1"}, {"type": "limit", "limitPrice": "1"}):
        assert modules("textOf", {**MARKET, **change}, "none") != text
    limit = modules("textOf", LIMIT, "none")
    assert modules("textOf", LIMIT, "day") != limit
    assert modules("textOf", {**LIMIT, "limitPrice": "165.0"}, "none") == limit


# What it shows


def test_a_limit_ticket_shows_what_the_limit_gives(modules: Modules) -> None:
    told = modules("ticketFigures", LIMIT, quote())
    assert told["outLabel"] == "You get at least"
    assert told["out"] == "247.5000"
    assert told["minimum"] == "247.5000 USDC"
    assert told["priceLabel"] == "Market price"
    assert told["price"] == "147.133 USDC per SOL"


def test_a_limit_ticket_without_a_price_promises_nothing(modules: Modules) -> None:
    told = modules("ticketFigures", {**LIMIT, "limitPrice": ""}, quote())
    assert (told["out"], told["minimum"]) == ("–", "–")  # noqa: RUF001


def test_the_minimum_of_a_limit_is_what_the_engine_holds(modules: Modules) -> None:
    for amount, limit in (("1.5", "165"), ("0.333333333", "147.1234567"), ("7.000000001", "0.000019")):
        least = limit_min_out(parse_amount(amount, SOL), Decimal(limit), SOL, USDC)
        assert modules("product", amount, limit, USDC.decimals) == format_amount(least, USDC)


def test_a_market_ticket_says_that_its_minimum_is_of_this_quote(modules: Modules) -> None:
    told = modules("ticketFigures", MARKET, quote())
    assert told["minimumLabel"] == "Minimum at this quote"
    assert told["minimum"] == "219.5962 USDC"
    assert told["fee"] == "0.000015 SOL"
    assert told["impact"] == "0.04 %"


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("165", "+12.14 % from the market: it rests until the price gets there."),
        ("147.2", "+4.54 bps from the market: it rests until the price gets there."),
        ("100", "−32.03 % from the market: it will fire at once."),  # noqa: RUF001
        ("147.133142667", "At the market: it will fire at once."),
        ("1000000", "6,797 times the market's price: it rests until the price gets there."),
        ("", "It rests until the market gives your price."),
    ],
)
def test_a_limit_ticket_says_how_far_it_is(modules: Modules, limit: str, said: str) -> None:
    assert modules("hint", {**LIMIT, "limitPrice": limit}, quote(), None) == said


# What it warns of


def levels(modules: Modules, request: Any, of: Any) -> list[str]:
    return [warning["level"] for warning in modules("warnings", request, of)]


def test_an_ordinary_order_is_not_warned_of(modules: Modules) -> None:
    assert modules("warnings", MARKET, quote()) == []
    assert modules("warnings", LIMIT, quote()) == []
    assert modules("warnings", MARKET, None) == []


@pytest.mark.parametrize(("slippage", "level"), [("4.99", None), ("5", "caution"), ("20", "danger"), ("40", "danger")])
def test_a_high_slippage_is_said_with_its_worst_outcome(modules: Modules, slippage: str, level: str | None) -> None:
    found = modules("warnings", {**MARKET, "slippage": slippage}, quote())
    assert [warning["level"] for warning in found] == ([] if level is None else [level])
    if slippage == "40":
        assert found[0]["text"] == "Slippage of 40 %: you may receive as little as 132.4198 USDC."


def test_a_limit_below_the_market_is_warned_of_its_slippage_down_to_its_limit(modules: Modules) -> None:
    """It fires at once, at the market; what it gives at least is the larger of the two floors."""
    assert levels(modules, {**LIMIT, "slippage": "40"}, quote()) == []
    found = modules("warnings", {**LIMIT, "limitPrice": "100", "slippage": "40"}, quote())
    assert found[0]["text"] == "Slippage of 40 %: you may receive as little as 150.0000 USDC."


def test_fees_that_exceed_the_output_are_a_danger(modules: Modules) -> None:
    found = modules("warnings", MARKET, quote("0.00002", "-0.002165"))
    assert [warning["level"] for warning in found] == ["danger"]
    assert found[0]["text"] == "The network fee (0.002185 USDC) is more than you would receive (0.000020)."
    assert levels(modules, MARKET, quote("0.002185", "0")) == ["danger"]


def test_fees_that_take_much_of_the_output_are_said(modules: Modules) -> None:
    assert levels(modules, MARKET, quote("0.1", "0.0951")) == []
    assert modules("warnings", MARKET, quote("0.1", "0.088"))[0]["text"] == (
        "The network fee takes 12 % of what you receive."
    )


def test_a_large_impact_is_said(modules: Modules) -> None:
    assert levels(modules, MARKET, quote(impact="299.9")) == []
    assert modules("warnings", MARKET, quote(impact="410"))[0]["text"] == (
        "So large an order gets 4.10 % less than the market's price."
    )


def test_dangers_come_before_cautions(modules: Modules) -> None:
    assert levels(modules, {**MARKET, "slippage": "50"}, quote("0.1", "0.09", "500")) == [
        "danger",
        "caution",
        "caution",
    ]


# How many orders there are


STATS = {"open": 3, "active": 2, "byStatus": {"confirmed": 70, "failed": 1, "cancelled": 4, "expired": 2}}


@pytest.mark.parametrize(
    ("name", "exist"), [("all", 82), ("active", 2), ("open", 3), ("confirmed", 70), ("failed", 1), ("withdrawn", 6)]
)
def test_a_filter_counts_what_there_is(modules: Modules, name: str, exist: int) -> None:
    assert modules("count", STATS, [], name, 0, False) == str(exist)
    # Never fewer than are seen, and exactly those if all have been read.
    assert modules("count", STATS, [], name, 90, False) == "90"
    assert modules("count", STATS, [], name, 1, True) == "1"
    # Before the engine has counted, only what is here is known.
    assert modules("count", None, [], name, 50, False) == "50+"


def test_a_filter_counts_what_has_moved_since(modules: Modules) -> None:
    moves = [[None, "pending"], ["pending", "routing"], ["submitted", "confirmed"], ["open", "cancelled"]]
    counted = {name: modules("count", STATS, moves, name, 0, False) for name in ("all", "active", "open", "confirmed")}
    assert counted == {"all": "83", "active": "2", "open": "2", "confirmed": "71"}
    assert modules("count", STATS, moves, "withdrawn", 0, False) == "7"


def page(*moments: int, more: str | None = None) -> Any:
    orders = [{"createdAt": f"2026-11-21T01:00:{second:02d}.000Z"} for second in moments]
    return {"orders": orders, **({"nextCursor": more} if more else {})}


def test_two_lists_merge_without_a_gap(modules: Modules) -> None:
    """Whatever lies above the horizon has been read in both; the list that lags is read on."""
    pages = [
        {"cancelled": [page(50, 40, more="c1")], "expired": []},
        {"cancelled": [], "expired": [page(45, 10, more="e1")]},
        {"cancelled": [page(30, 5)], "expired": []},
        {"cancelled": [], "expired": [page(3)]},
    ]
    found = modules("page", ["cancelled", "expired"], pages)
    asked = [(each["status"], each["cursor"]) for each in found["read"]]
    assert asked == [("cancelled", None), ("expired", None), ("cancelled", "c1"), ("expired", "e1")]
    seconds = [
        each["horizon"] if isinstance(each["horizon"], str) else each["horizon"] // 1000 % 60 for each in found["read"]
    ]
    assert seconds == ["Infinity", 40, 10, "-Infinity"]
    assert found["complete"] is True
