"""Tokens come from a market's list, and an order keeps those that it was placed with."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from order_engine.aws import codec
from order_engine.aws.indexes import index_keys, trigger_partition
from order_engine.domain import lifecycle
from order_engine.domain.errors import UnknownToken
from order_engine.domain.order import OrderRef, OrderRequest
from order_engine.domain.token_list import TokenList
from order_engine.domain.tokens import BONK, SOL, USDC, Token
from order_engine.venues.paper.tokens import TOKENS
from order_engine.wire import forms, views

WIF = Token("$WIF", "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", 6)
NAMELESS = Token(None, "7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr", 3)


@pytest.mark.parametrize("one", [*TOKENS, WIF], ids=lambda one: one.name)
def test_a_token_is_found_by_its_symbol_and_by_its_mint(one: Token) -> None:
    listed = TokenList((*TOKENS, WIF))
    assert listed.named(one.name) is listed.named(one.mint) is one
    assert one.unit == 10**one.decimals


def test_a_token_without_a_symbol_is_found_by_its_mint_and_called_by_it() -> None:
    listed = TokenList((SOL, NAMELESS))
    assert listed.named(NAMELESS.mint) is NAMELESS
    assert NAMELESS.name == NAMELESS.mint
    with pytest.raises(UnknownToken):
        listed.named("None")


@pytest.mark.parametrize("name", ["sol", "", "SOL ", "DOGE", SOL.mint.lower()])
def test_another_name_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(UnknownToken) as refused:
        TOKENS.named(name, field="tokenIn")
    assert refused.value.field == "tokenIn"
    assert all(one.name in refused.value.message for one in TOKENS)


def test_a_refusal_does_not_recite_a_long_list() -> None:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    many = TokenList(tuple(Token(f"T{n}", alphabet[n] * 40, 6) for n in range(50)))
    with pytest.raises(UnknownToken, match=r"T11 and 38 more \(GET /api/tokens\)"):
        many.named("DOGE")


@pytest.mark.parametrize(
    "tokens",
    [
        (SOL, SOL),
        (SOL, replace(USDC, symbol="SOL")),
        (SOL, replace(SOL, symbol="wSOL")),
        (replace(SOL, mint="0" * 40),),
        (replace(SOL, symbol=""),),
        (replace(SOL, symbol="A B"),),
        (replace(SOL, symbol=SOL.mint),),
        (replace(SOL, decimals=19),),
        (replace(SOL, decimals=-1),),
    ],
)
def test_a_list_in_which_a_name_could_mean_two_things_is_refused(tokens: tuple[Token, ...]) -> None:
    with pytest.raises(ValueError, match=r"twice|no address|printable|at most 18"):
        TokenList(tokens)


# --- in stored orders ----------------------------------------------------------------------------------------------


def placed(token_in: Token, token_out: Token) -> Any:
    request = OrderRequest("limit", token_in, token_out, 10**6, 50, Decimal(2), 1_790_000_000_000)
    return lifecycle.place(OrderRef("user", "order"), request, "f", 1_780_000_000_000)


@pytest.mark.parametrize("pair", [(WIF, SOL), (USDC, NAMELESS), (NAMELESS, WIF), (replace(USDC, symbol="usd"), SOL)])
def test_an_order_in_any_token_reads_back_and_shows_its_amounts_whatever_is_listed_then(
    pair: tuple[Token, Token],
) -> None:
    order = placed(*pair)
    item = codec.to_item(order)
    read = codec.from_item(item)
    assert read == order
    assert (read.request.token_in, read.request.token_out) == pair
    shown = views.order_view(read)
    assert (shown["tokenIn"], shown["tokenOut"]) == (pair[0].name, pair[1].name)
    assert Decimal(shown["amountIn"]) == Decimal(10**6).scaleb(-pair[0].decimals)
    assert item[forms.SCHEMA] == {"N": str(forms.WRITTEN_OUT)}
    # A later write of it calls it no older.
    cancelled = lifecycle.cancel(read, 1_780_000_001_000)
    assert ":schema" not in codec.update_of(read, cancelled)["ExpressionAttributeValues"]


def test_orders_in_the_tokens_of_the_first_release_are_written_as_it_reads_them() -> None:
    for source in TOKENS:
        for target in TOKENS:
            item = codec.to_item(placed(source, target))
            request = json.loads(item["request"]["S"])
            assert (request["i"], request["o"]) == (source.symbol, target.symbol)
            assert item[forms.SCHEMA] == {"N": "1"}
            assert item["work_pk"] == {"S": f"trigger#{source.symbol}/{target.symbol}"}


@pytest.mark.parametrize("written", ["DOGE", [], ["mint"], ["mint", "6"], [1, 6], ["mint", 6, "A", "B"], None, 7])
def test_what_names_no_token_is_no_order(written: object) -> None:
    item = codec.to_item(placed(SOL, USDC))
    item["request"] = {"S": json.dumps({**json.loads(item["request"]["S"]), "i": written})}
    with pytest.raises(codec.Corrupt):
        codec.from_item(item)


def test_resting_orders_of_a_pair_lie_together_whatever_its_tokens_are_called() -> None:
    """The market may rename a token while orders rest."""
    for source, target in ((WIF, SOL), (BONK, NAMELESS), (SOL, USDC)):
        renamed = replace(source, symbol="NEW")
        keys = index_keys(placed(source, target))
        assert keys == index_keys(placed(renamed, target))
        assert keys["work_pk"] == trigger_partition(source.mint, target.mint)
