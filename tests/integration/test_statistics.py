"""What statistics cost: writes and bytes, over the hours of a user's trading."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from bench.account import item_size, write_units
from order_engine.aws.statistics import DynamoStatistics
from order_engine.domain.order import Status
from order_engine.engine.stats import Tally
from tests.support.cloud import deployed, engine

T0 = 1_767_225_600_000
MINUTE = 60_000


class Account:
    """The user's items, and every write of them."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._client = engine().stores.clients.dynamodb
        self._number = 0
        self.store = DynamoStatistics(self._client, table)
        self.writes = 0
        self._client.meta.events.register("before-call.dynamodb.UpdateItem", self._note)

    def _note(self, **_: Any) -> None:
        self.writes += 1

    def end(self, *at: int) -> None:
        """One batch of the stream: orders that ended at these times, in milliseconds since the start."""
        tallies = []
        for moment in at:
            self._number += 1
            venue = ("raydium", "meteora", "meteora+raydium")[self._number % 3]
            latency = 2_000 + self._number % 40 * 100
            tallies.append(Tally(f"order{self._number}", 5, T0 + moment, Status.CONFIRMED, venue, latency))
        asyncio.run(self.store.count("alice", tallies))

    def items(self) -> list[dict[str, Any]]:
        return boto3.client("dynamodb").scan(TableName=self._table)["Items"]

    def largest(self) -> int:
        """Bytes of the largest item, as DynamoDB counts them."""
        return max(item_size(_plain(item)) for item in self.items())

    def counted(self) -> int:
        return asyncio.run(self.store.of_user("alice")).by_status["confirmed"]


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """A set's bytes as text, which is what the size is counted of."""
    return {name: {"SS": ["x" * len(one) for one in value["BS"]]} if "BS" in value else value
            for name, value in item.items()}  # fmt: skip


@pytest.fixture
def account() -> Iterator[Account]:
    with deployed() as made:
        yield Account(made.accounts_table)


def test_an_order_costs_one_write_of_one_unit(account: Account) -> None:
    account.end(0)
    assert account.writes == 1
    account.end(5_000)
    assert account.writes == 2
    assert [write_units(None, _plain(item)) for item in account.items()] == [1]


def test_orders_of_one_batch_share_a_write(account: Account) -> None:
    account.end(*range(0, 20_000, 200))
    # A hundred marks are more than one condition can hold.
    assert account.writes == 2
    assert account.counted() == 100


@pytest.mark.long
def test_a_user_at_the_default_limit_pays_two_units_at_most(account: Account) -> None:
    """100 orders a minute, for longer than a round of lanes: the marks of former minutes do not pile up."""
    for minute in range(25):
        for part in range(10):
            start = minute * MINUTE + part * 6_000
            account.end(*range(start, start + 6_000, 600))
    assert account.writes == 250
    assert account.counted() == 2_500
    assert len(account.items()) == 20
    assert account.largest() < 2048


@pytest.mark.parametrize(
    "pause",
    [
        pytest.param(20 * MINUTE, marks=pytest.mark.long),
        60 * MINUTE,
        pytest.param(240 * MINUTE, marks=pytest.mark.long),
        241 * MINUTE,
        pytest.param(25 * 60 * MINUTE, marks=pytest.mark.long),
    ],
)
def test_who_trades_now_and_then_leaves_nothing_behind(account: Account, pause: int) -> None:
    orders = 80
    for number in range(orders):
        account.end(number * pause)
    assert account.counted() == orders
    assert account.largest() < 1024
    # What is left of former hours is dropped by a write of its own, now and then.
    assert account.writes <= orders * 1.07


def test_what_the_former_release_counted_is_kept(account: Account) -> None:
    """0.1 had one item with everything, and a sequence number."""
    former = {"pk": {"S": "stats#alice"}, "sk": {"S": "total"}, "counted": {"S": "7"}, "s_confirmed": {"N": "41"}}
    boto3.client("dynamodb").put_item(TableName=account._table, Item=former)
    account.end(0)
    assert account.counted() == 42
