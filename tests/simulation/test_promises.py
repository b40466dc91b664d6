"""Single promises, each in the worst case that it speaks of."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from itertools import groupby

import pytest

from order_engine.domain.order import Order, OrderRef, Status
from order_engine.domain.tokens import SOL
from order_engine.wire import messages
from tests.simulation.chain import DEADLY
from tests.simulation.network import BLOCK_MS, VALID_BLOCKS
from tests.simulation.run import Follower, Plan, Planned, Simulation, limit_order, market_order
from tests.simulation.world import EPOCH_MS, Faults

MINUTE_MS = 60_000


def _order(at_ms: int = 1000, user: str = "user1") -> Planned:
    return Planned(at_ms, user, market_order(2 * SOL.unit, slippage_bps=300))


def _only(simulation: Simulation) -> Order:
    (order,) = simulation.orders.stored.values()
    return order


def test_a_broadcast_that_times_out_after_landing_is_found_and_never_repeated_under_a_new_signature() -> None:
    signed_while_unknown: list[int] = []
    plan = Plan(
        [_order()],
        outages=[
            ("chain.broadcast", "unanswered", 0, 50_000),
            ("chain.status", "refused", 0, 50_000),
            # Not before it is signed: until when it can land is held against the height.
            ("chain.height", "refused", 3_000, 50_000),
        ],
        probes=[(49_000, lambda simulation: signed_while_unknown.append(len(simulation.network.signed)))],
    )
    simulation = Simulation(1, plan)
    result = simulation.run()
    assert result.violation is None
    assert signed_while_unknown == [1]
    assert len(simulation.network.signed) == 1
    assert _only(simulation).status is Status.CONFIRMED


def test_a_broadcast_that_never_lands_is_signed_anew_only_after_its_expiry() -> None:
    plan = Plan([_order()], script={1: "lost"})
    simulation = Simulation(1, plan)
    assert simulation.run().violation is None
    order = _only(simulation)
    first, second = [event.at for event in order.events if event.status is Status.SUBMITTED]
    assert second - first >= VALID_BLOCKS * BLOCK_MS
    assert order.status is Status.CONFIRMED


def test_on_a_chain_that_lets_everything_expire_an_order_makes_all_its_attempts() -> None:
    """Each takes 40 s and several receives of the message: receives are not attempts."""
    plan = Plan([_order()], script=dict.fromkeys(range(1, 9), "lost"))
    simulation = Simulation(1, plan)
    assert simulation.run().violation is None
    order = _only(simulation)
    assert order.status is Status.FAILED
    assert order.failure is not None
    assert order.failure.code == "expired"
    assert order.attempts == 4
    assert len(simulation.network.signed) == 4


def test_every_order_accepted_while_the_queue_refuses_for_half_an_hour_is_queued_within_a_minute_of_its_recovery() -> (
    None
):
    outage_ms = 30 * MINUTE_MS
    # More orders than one look of the sweeper could take if it read 100 of each partition.
    orders = [_order(at_ms) for at_ms in range(1000, outage_ms, 3000)]
    unqueued: list[str] = []

    def look(simulation: Simulation) -> None:
        queued = {message.body for message in simulation.queue.messages.values()}
        unqueued.extend(
            order.ref.order_id
            for order in simulation.orders.stored.values()
            if order.status is Status.PENDING and messages.encode(order.ref) not in queued
        )

    simulation = Simulation(
        1,
        Plan(
            orders,
            bad_ms=0,
            outages=[
                ("queue.send", "refused", 0, outage_ms),
                # What is sent first does not end at once: it must not stand in the way of what comes behind it.
                ("chain.broadcast", "refused", 0, outage_ms + 2 * MINUTE_MS),
            ],
            probes=[(outage_ms - 1, look), (outage_ms + MINUTE_MS, look)],
        ),
    )
    result = simulation.run()
    assert result.violation is None
    # Nothing could be queued during the outage, and nothing was left out a minute after it.
    assert len(unqueued) == len(orders)
    assert set(result.statuses) <= {"confirmed", "failed"}
    assert sum(result.statuses.values()) == len(orders)


def test_a_poisoned_record_is_set_aside_and_delays_nobody_by_five_seconds() -> None:
    orders = [_order(at_ms, user) for at_ms in (1000, 1500) for user in ("user1", "user2")]
    plan = Plan(orders, [Follower(0, n) for n in range(4)], bad_ms=10_000, poison=[900, 1100, 1600, 3000])
    simulation = Simulation(1, plan)
    assert simulation.run().violation is None
    assert max(simulation.stream.delays.values()) < 5_000
    kept = [json.loads(message.body) for message in simulation.stream_failures.messages.values()]
    assert sorted(record["eventID"] for record in kept) == sorted(simulation.poisoned)


def test_a_user_whose_records_always_fail_delays_the_shards_others_by_less_than_five_seconds() -> None:
    """user1 and user3 share a shard; whatever is counted for user3 fails."""
    plan = Plan([_order(1000, "user3"), _order(1200, "user1")], bad_ms=5_000)
    simulation = Simulation(1, plan)
    del simulation.stream.shards[1:]
    simulation.statistics.failing.add("user3")
    simulation.run()
    shared = [shard for shard in simulation.stream.shards if shard.records]
    assert len(shared) == 1
    delays = {
        record["dynamodb"]["SequenceNumber"]: simulation.stream.delays[record["dynamodb"]["SequenceNumber"]]
        for record in shared[0].records
        if record["dynamodb"]["NewImage"]["user_id"]["S"] == "user1"
    }
    assert delays
    assert max(delays.values()) < 5_000
    # The record is not lost: the mapping names it at the failure destination.
    assert len(simulation.stream.given_up) == 1


def _interleaved(simulation: Simulation) -> bool:
    """Whether an order's end came by one shard between two by the other."""
    ended = []
    for place, shard in enumerate(simulation.stream.shards):
        for record in shard.records:
            if record["dynamodb"]["NewImage"]["status"]["S"] in ("confirmed", "failed"):
                number = record["dynamodb"]["SequenceNumber"]
                ended.append((record["at"] + simulation.stream.delays[number], place))
    order = [place for _, place in sorted(ended)]
    return len([place for place, _ in groupby(order)]) > 2


def test_a_users_statistics_are_right_however_the_records_are_split_over_shards() -> None:
    """Two shards with their own pace bring one user's orders, with batches that come again and pushers that die."""
    interleaved = 0
    for seed in range(40):
        plan = Plan(
            [_order(1000 + 400 * n) for n in range(12)],
            bad_ms=20_000,
            faults=Faults(
                redelivered=0.4, killed=0.2, unanswered=0.05, doubled=0.2, frozen=0.1, zombie=0.5, stalled=0.02
            ),
        )
        simulation = Simulation(seed, plan)
        assert simulation.run().violation is None
        assert all(shard.records for shard in simulation.stream.shards)
        interleaved += _interleaved(simulation)
        if not simulation.stream.given_up:
            counted = simulation.statistics.totals["user1"].by_status
            assert sum(counted.values()) == len(simulation.orders.stored) >= 6
    assert interleaved > 20


def test_an_order_that_ends_every_worker_fails_in_bounded_time_and_harms_no_other() -> None:
    deadly = Planned(1000, "user1", replace(market_order(SOL.unit), wallet_address=DEADLY))
    simulation = Simulation(1, Plan([deadly, _order(1000, "user2")], bad_ms=0))
    result = simulation.run()
    assert result.violation is None
    by_user = {ref.user_id: order for ref, order in simulation.orders.stored.items()}
    assert by_user["user1"].status is Status.FAILED
    assert by_user["user2"].status is Status.CONFIRMED


@pytest.mark.parametrize("letter", ["not json", "{}", '{"userId":"user1","orderId":"nobody knows"}'])
def test_what_cannot_be_read_or_found_is_kept(letter: str) -> None:
    plan = Plan([_order()], probes=[(100, lambda simulation: simulation.queue.put(letter))])
    simulation = Simulation(1, plan)
    assert simulation.run().violation is None
    assert [message.body for message in simulation.quarantine.messages.values()] == [letter]
    assert OrderRef("user1", "order1") in simulation.orders.stored


def test_a_limit_order_at_the_very_edge_of_its_limit_rests_until_its_time_is_over() -> None:
    """The marginal price meets the limit for an hour, what the order would get after fees does not."""
    hour_ms = 60 * MINUTE_MS
    request = limit_order(2 * SOL.unit, Decimal("149.9"), EPOCH_MS + hour_ms)
    simulation = Simulation(1, Plan([Planned(0, "user1", request)], bad_ms=hour_ms, swing_ppm=0))
    assert simulation.run().violation is None
    order = _only(simulation)
    assert order.status is Status.EXPIRED
    assert order.seq == 2


@pytest.mark.parametrize("broken", ["chain.build", "chain.broadcast"])
def test_a_limit_order_that_fires_into_an_outage_of_the_chain_is_filled_after_it(broken: str) -> None:
    """Ten minutes, of which a market order sees four attempts."""
    outage_ms = 10 * MINUTE_MS
    limit = Planned(1000, "user1", limit_order(2 * SOL.unit, Decimal(140), EPOCH_MS + 60 * MINUTE_MS))
    plan = Plan([limit], outages=[(broken, "refused", 0, outage_ms)], bad_ms=outage_ms)
    simulation = Simulation(1, plan)
    assert simulation.run().violation is None
    order = _only(simulation)
    assert order.status is Status.CONFIRMED
    assert 0 < order.updated_at - EPOCH_MS - outage_ms < 10 * MINUTE_MS
    rested = [event for event in order.events if event.status is Status.OPEN]
    assert len(rested) > 3


@pytest.mark.parametrize("seed", range(100))
def test_whoever_joins_at_the_very_end_sees_everything_and_is_let_go(seed: int) -> None:
    """With the ticket for that order, every fourth millisecond around its last event; every other seed those between.

    So it takes no more sockets than a user may have.
    """
    alone = Simulation(seed, Plan([_order()]))
    assert alone.run().violation is None
    end = _only(alone).updated_at - EPOCH_MS
    joining = [Follower(at_ms, 0) for at_ms in range(end - 60 + seed % 2 * 2, end + 20, 4)]
    simulation = Simulation(seed, Plan([_order()], joining, bad_ms=end + 5_000))
    open_at_the_end: list[str] = []

    def look(simulation: Simulation) -> None:
        sockets = [client.socket for client in simulation.clients if client.socket is not None]
        assert len(sockets) == len(joining)
        open_at_the_end.extend(socket.connection_id for socket in sockets if socket.open)

    simulation.plan.probes.append((end + 4_900, look))
    assert simulation.run().violation is None
    assert not open_at_the_end
