"""Planted bugs: each takes one rule out of the engine, and the simulation has to notice.

Most are written as an edit of one function's source, so that they follow the code: an edit that no longer fits
fails loudly.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import process.handler
from order_engine.domain import lifecycle
from order_engine.domain.order import Order, SignedTransaction, Status
from order_engine.engine import dead_letters, execute, place, push, sockets, sweep, triggers
from order_engine.engine.cancel import Cancel
from order_engine.engine.ports import Height
from order_engine.engine.stats import Tally
from order_engine.venues.solana import chain, node, proof, validity
from order_engine.venues.solana.node import Known, Node
from order_engine.venues.solana.parse import Signed
from tests.fakes.orders import FakeOrders
from tests.fakes.queue import FakeQueue
from tests.fakes.statistics import FakeStatistics, Totals
from tests.simulation.chain import SimChain
from tests.simulation.run import simulate


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    Attributes:
        removes: the rule that is gone, as a person would say it.
        plant: puts the bug in place for as long as the context lasts.
        seed: the first seed of 0, 1, 2… under which it shows.
        climate: faults that are more likely than usual, for what is a matter of milliseconds.
    """

    name: str
    removes: str
    plant: Callable[[], AbstractContextManager[Any]]
    seed: int
    climate: Mapping[str, float] = field(default_factory=dict)

    def shows(self, seed: int) -> str | None:
        """The promise that is broken under a seed, with the bug in place."""
        with self.plant():
            return simulate(seed, climate=self.climate).violation


@contextmanager
def edited(owner: Any, name: str, *edits: tuple[str, str]) -> Iterator[None]:
    """One function of a module or class with pieces of its source replaced.

    Raises:
        ValueError: a piece does not occur exactly once.
    """
    function = inspect.unwrap(getattr(owner, name))
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{owner.__name__}.{name} has {source.count(old)} times: {old}")
        source = source.replace(old, new)
    module = sys.modules[function.__module__]
    # Written in a class, it may name the class's type parameters and annotations: they stay text.
    flags = __future__.annotations.compiler_flag
    found: dict[str, Any] = {}
    exec(compile(source, f"<{name} with a planted bug>", "exec", flags, dont_inherit=True), vars(module), found)
    with patch.object(owner, name, found[name]):
        yield


def edit(owner: Any, name: str, *edits: tuple[str, str]) -> Callable[[], AbstractContextManager[Any]]:
    return partial(edited, owner, name, *edits)


def replaced(owner: Any, name: str, value: object) -> Callable[[], AbstractContextManager[Any]]:
    return partial(patch.object, owner, name, value)


@contextmanager
def _all_of(plants: Sequence[Callable[[], AbstractContextManager[Any]]]) -> Iterator[None]:
    with ExitStack() as planted:
        for plant in plants:
            planted.enter_context(plant())
        yield


def together(*plants: Callable[[], AbstractContextManager[Any]]) -> Callable[[], AbstractContextManager[Any]]:
    """Several edits, where one rule has a second one behind it that would do."""
    return partial(_all_of, plants)


def also(allowed: Status, *, after: Status) -> Callable[[], AbstractContextManager[Any]]:
    """One more transition in the table."""
    return partial(patch.dict, lifecycle.TRANSITIONS, {after: lifecycle.TRANSITIONS[after] | {allowed}})


_build = SimChain.build


async def _build_and_send(self: SimChain, order: Order, *, min_out: int) -> SignedTransaction:
    tx = await _build(self, order, min_out=min_out)
    await self.broadcast(tx)
    return tx


def _always(*arguments: object) -> bool:
    return True


def _only_newer(self: FakeStatistics, totals: Totals, tally: Tally) -> bool:
    """As if one shard brought all of a user's records, in order."""
    newest = max((at for minute in totals.marks.values() for _, at in minute), default=0)
    new = tally.at > newest
    if new:
        totals.marks.setdefault(-1, set()).add(("newest", tally.at))
    return new


async def _believe(nodes: Sequence[Node], signed: Signed, last_valid: int, places: object) -> Known:
    known = await nodes[0].status(signed.signature, search_history=True)
    return known if known.landed is not None else Known(known.slot - vars(chain)["FORK_SLOTS"], None)


_begin_of = proof.begin_of


async def _all_there(node: Node, low: int, high: int, newest: Height, places: dict[int, int]) -> int | None:
    return await _begin_of(node, low, high, newest, places) or newest.slot


def _one(of: Sequence[object]) -> int:
    return 1


def _nameless(order_id: str, attempt: int) -> str:
    return "a swap"


def _never(*arguments: object) -> bool:
    return False


_E, _L, _D = execute.Execute, lifecycle, dead_letters.ResolveDeadLetter
# A node is taken at its word: not two, and not for the blocks that it has.
BELIEVED_AT_ONCE = replaced(chain, "look_through", _believe)
_NO_MARGIN = together(replaced(chain, "FORK_SLOTS", 0), replaced(proof, "FORK_SLOTS", 0))
_AT_ONCE = (
    "return await self._hand_back(order, now)",
    """from order_engine.domain.failures import WAITED_TOO_LONG
    await self.execute.orders.replace(order, lifecycle.fail(order, WAITED_TOO_LONG, now))
    return Done("given up")""",
)
_FAIL_ON_SILENCE = """await self._ask(self.chain.broadcast(tx), deadline)
            except _ChainSilent:
                return await self._retry(order, Failure("broadcast", "It was not sent."))"""

_NOTED_BEFORE = """        self.sent.note(known.connection_id, order_id, change.order.seq)
        for frame in frames:"""

MUTANTS: Sequence[Mutant] = (
    # --- the store's conditions ----------------------------------------------------------------------------------
    Mutant(
        "store-ignores-seq",
        "a write demands the sequence number that its writer read",
        replaced(FakeOrders, "conditions", frozenset({"version", "owner"})),
        13,
    ),
    Mutant(
        "store-ignores-fence",
        "a write demands its own lease and fencing number",
        replaced(FakeOrders, "conditions", frozenset({"seq"})),
        2,
    ),
    Mutant(
        "store-overwrites",
        "a new order never replaces a stored one",
        edit(FakeOrders, "_create", ("if current is None:", "if True:")),
        1,
    ),
    Mutant(
        "own-write-unknown",
        "a write whose answer was lost finds itself",
        replaced(FakeOrders, "own_write", _never),
        12,
    ),
    Mutant(
        "create-own-write-by-time",
        "the same key with another body is a conflict, also within one millisecond",
        edit(
            FakeOrders,
            "_create",
            ("self._created.get(order.ref) is not mark", "current.created_at != order.created_at"),
        ),
        4,
    ),
    # --- claims, leases and fences -------------------------------------------------------------------------------
    Mutant(
        "claim-ignores-lease",
        "an order that a living worker holds is left alone",
        edit(execute, "next_step", ("order.lease is not None and now < order.lease.until", "False")),
        3,
    ),
    Mutant(
        "claim-keeps-version",
        "a claim raises the fencing number",
        edit(_L, "claim", ("version=order.version + 1", "version=order.version")),
        0,
    ),
    Mutant(
        "takeover-keeps-version",
        "taking over a submitted order raises the fencing number",
        edit(_L, "take_over", ("version=order.version + 1", "version=order.version")),
        2,
    ),
    Mutant(
        "takeover-without-claim",
        "whoever settles a dead worker's transaction has claimed the order",
        edit(_E, "_begin", ("await self._write(order, lifecycle.take_over(order, lease))", "order")),
        2,
    ),
    Mutant(
        "shared-worker-name",
        "every execution has a name of its own",
        edit(process.handler, "handle", ("name=engine.worker_name", 'name=lambda: "worker"')),
        1,
    ),
    Mutant(
        "lease-not-released",
        "an order that waits for its next attempt is free",
        edit(_L, "retry", ("_release(back)", "back")),
        2,
    ),
    Mutant(
        "dead-letter-ignores-lease",
        "a dead letter does not take an order from a living worker",
        edit(_D, "__call__", ("step.action is Action.HELD", "False"), _AT_ONCE),
        17,
    ),
    Mutant(
        "dead-letter-fails-what-waits",
        "a dead letter does not end an order that may wait on",
        edit(_D, "__call__", _AT_ONCE),
        40,
    ),
    # --- intent first, unknown is not failed ---------------------------------------------------------------------
    Mutant(
        "broadcast-before-intent",
        "the signed transaction is stored before it is broadcast",
        replaced(SimChain, "build", _build_and_send),
        0,
    ),
    Mutant(
        "intent-not-stored",
        "the bytes are stored with the submission",
        edit(_L, "submit", (", intent=intent)", ")")),
        0,
    ),
    Mutant(
        "submitted-routed-again",
        "a submitted order is followed, never routed again",
        edit(execute, "next_step", ("if order.status is Status.SUBMITTED:", "if False:")),
        2,
    ),
    Mutant(
        "broadcast-error-is-failure",
        "an error of the broadcast means unknown",
        edit(
            _E,
            "_settle",
            ("with contextlib.suppress(_ChainSilent):", "try:"),
            (
                "await self._ask(self.chain.broadcast(tx), deadline)",
                _FAIL_ON_SILENCE,
            ),
        ),
        26,
    ),
    Mutant(
        "silence-is-failure",
        "a look-up without an answer proves nothing",
        edit(
            _E,
            "_look",
            (
                "except _ChainSilent:\n        return None",
                'except _ChainSilent:\n        return await self._retry(order, Failure("silent", "No answer."))',
            ),
        ),
        6,
    ),
    Mutant(
        "no-height-check",
        "a transaction has expired only when the block height has passed",
        edit(_E, "_look", ("height.blocks <= tx.last_valid_block_height", "height.blocks <= 0")),
        3,
    ),
    Mutant(
        "height-off-by-one",
        "the last valid block is still valid",
        together(
            edit(_E, "_look", ("<= tx.last_valid_block_height", "< tx.last_valid_block_height")),
            # Which counts from so far back that a block more or less does not matter.
            _NO_MARGIN,
            BELIEVED_AT_ONCE,
        ),
        7,
        {"late": 1.0},
    ),
    Mutant(
        "signs-too-early",
        "a transaction is given up when it can no longer land, and no sooner",
        together(
            edit(_E, "_look", ("height.blocks <= tx.last_valid", "height.blocks <= -40 + tx.last_valid")),
            BELIEVED_AT_ONCE,
        ),
        3,
        {"late": 1.0},
    ),
    Mutant(
        "slots-for-blocks",
        "transactions expire by blocks, of which there are fewer than slots",
        edit(chain.SolanaChain, "height", ("newest.blocks - FORK_SLOTS", "newest.slot - FORK_SLOTS")),
        1,
    ),
    Mutant(
        "no-history-lookup",
        "expiry is believed only after a look-up through the history",
        edit(_E, "_look", ("search_history=True", "search_history=False")),
        3,
        {"late": 1.0, "silent": 0.95},
    ),
    Mutant(
        "height-is-enough",
        "expiry is believed only after a look-up",
        edit(_E, "_look", ("known = await self._ask(self.chain.status(tx, search_history=True), deadline)", "pass")),
        3,
        {"late": 1.0, "silent": 0.95},
    ),
    Mutant(
        "history-before-height",
        "the look-up comes after the height",
        together(
            edit(
                _E,
                "_look",
                (
                    "known = await self._ask(self.chain.status(tx, search_history=False), deadline)",
                    "known = await self._ask(self.chain.status(tx, search_history=True), deadline)",
                ),
                (
                    "known = await self._ask(self.chain.status(tx, search_history=True), deadline)\n            if",
                    "if",
                ),
                # Which would catch it: a look-up before the height comes from an earlier slot.
                ("known.slot < height.slot", "False"),
            ),
            _NO_MARGIN,
            BELIEVED_AT_ONCE,
        ),
        36,
        {"late": 1.0, "stalled": 0.08},
    ),
    Mutant(
        "expiry-from-behind",
        "a node that is behind the height cannot say that a transaction expired",
        together(edit(_E, "_look", ("known.slot < height.slot", "False")), BELIEVED_AT_ONCE),
        20,
        {"late": 1.0, "behind": 0.5},
    ),
    Mutant(
        "expiry-from-a-fork",
        "a node whose newest blocks are of a fork that dies cannot say so either",
        together(_NO_MARGIN, BELIEVED_AT_ONCE),
        7,
        {"late": 1.0, "forked": 0.5},
    ),
    Mutant(
        "gap-believed",
        "a node that lacks blocks in which a transaction may be cannot say so either",
        replaced(proof, "begin_of", _all_there),
        296,
        {"late": 1.0, "silent": 0.95, "lacking": 1.0},
    ),
    Mutant(
        "proof-of-any-age",
        "a proof of absence is as old as its oldest part",
        edit(proof, "_testimony", ("min(known.slot, newest.slot, slot)", "known.slot")),
        20,
        {"late": 1.0, "behind": 0.5},
    ),
    Mutant(
        "one-word-is-enough",
        "where several nodes are configured, two must say so",
        replaced(proof, "_needed", _one),
        44,
        {"late": 1.0, "silent": 0.95, "lying": 1.0, "behind": 0.3},
    ),
    Mutant(
        "told-height-believed",
        "until when a transaction can land is held against the chain's height",
        together(
            edit(
                validity.Validity,
                "last_valid",
                ("return max(told, height.blocks + VALID_BLOCKS)", "return told"),
            ),
            # Which notices that the block hash is still good.
            BELIEVED_AT_ONCE,
        ),
        19,
        {"misdated": 0.5, "late": 0.5},
    ),
    Mutant(
        "processed-is-confirmed",
        "what is only processed may vanish again",
        together(
            replaced(node, "_LANDED", ("processed", "confirmed", "finalized")),
            # Or the ledger would know nothing of it yet.
            replaced(node, "COMMITMENT", "processed"),
        ),
        7,
    ),
    Mutant(
        "unrecorded-is-unknown",
        "what has landed is no unknown where the ledger cannot tell yet what it did",
        edit(
            chain.SolanaChain,
            "_landed",
            ('raise NodeUnavailable("It has landed, but the node cannot tell what it did yet.")', "return None"),
        ),
        41,
        {"late": 1.0, "silent": 0.95, "unrecorded": 0.9},
    ),
    Mutant(
        "quote-is-fill",
        "what was received is what the ledger says",
        edit(
            _E,
            "_landed",
            ("tx.signature, status.amount_out", "tx.signature, order.routed.decision.chosen.amount_out"),
        ),
        0,
    ),
    Mutant(
        "no-memo",
        "every message names its order, so that two equal orders are two transactions",
        replaced(chain, "note_of", _nameless),
        26,
    ),
    Mutant(
        "landed-error-is-fill",
        "a transaction that landed with an error swapped nothing",
        edit(_E, "_landed", ("if status.error is not None or status.amount_out is None:", "if False:")),
        2,
    ),
    Mutant(
        "dead-letter-fails-submitted",
        "a dead letter's submitted order is asked for on the chain",
        edit(_D, "__call__", ("(Action.TAKE_OVER, Action.GIVE_UP)", "(Action.GIVE_UP,)"), _AT_ONCE),
        40,
    ),
    # --- retries and time ----------------------------------------------------------------------------------------
    Mutant(
        "retries-unbounded",
        "at most three retries",
        edit(execute, "after_failure", ("order.attempts > policy.max_retries", "False")),
        3,
    ),
    Mutant(
        "retry-at-once",
        "a retry waits its turn",
        edit(execute, "after_failure", ("now + wait_ms(policy, order.ref.order_id, order.attempts)", "now")),
        2,
    ),
    Mutant(
        "retry-too-early",
        "no attempt starts before its time",
        edit(execute, "_of_pending", ("order.retry_at is not None and now < order.retry_at", "False")),
        3,
    ),
    Mutant(
        "lost-workers-unbounded",
        "an order that ends its workers is given up",
        edit(execute, "_of_orphan", ("lost_workers(order) >= MAX_LOST_WORKERS", "False")),
        3,
    ),
    Mutant(
        "pending-never-expires",
        "a pending order past its time limit is not started",
        edit(execute, "_of_pending", ("expires_at is not None and expires_at <= now", "False")),
        8,
    ),
    Mutant(
        "orphan-never-expires",
        "an order past its time limit is not started again after its worker was lost",
        edit(execute, "_of_orphan", ("expires_at is not None and expires_at <= now", "False")),
        168,
    ),
    Mutant(
        "signed-after-limit",
        "no transaction is stored after the order's time limit",
        edit(
            _E,
            "_attempt",
            ("request.expires_at is not None and request.expires_at <= self.clock.now_ms()", "False"),
        ),
        334,
        {"stalled": 0.2},
    ),
    Mutant(
        "time-runs-backwards",
        "an order's history never runs backwards",
        edit(_L, "_step", ("max(now, last.at)", "now")),
        11,
    ),
    Mutant(
        "fires-too-early",
        "an order that missed its limit rests before it fires again",
        edit(triggers.Triggers, "_decide", ("order.retry_at is not None and now < order.retry_at", "False")),
        118,
    ),
    Mutant(
        "aside-forgotten",
        "an order that missed its limit at its full size fires once it can be filled",
        edit(triggers.Triggers, "_aside", ("if pair in self._none_aside:", "if True:")),
        725,
    ),
    Mutant(
        "patience-ignored",
        "a market order that has waited too long is not started",
        edit(execute, "next_step", ("if has_waited_too_long(order, patience_ms, now):", "if False:")),
        136,
    ),
    # --- what a swap may bring -----------------------------------------------------------------------------------
    Mutant(
        "slippage-ignored",
        "the least output follows from the slippage tolerance",
        edit(_E, "_route", ("slippage_min_out(decision.chosen.amount_out, request.slippage_bps)", "0")),
        0,
    ),
    Mutant(
        "limit-price-ignored",
        "the least output honours the limit price",
        edit(_E, "_route", ("max(min_out, request.trigger.floor)", "min_out")),
        6,
    ),
    Mutant(
        "min-out-not-signed",
        "the transaction carries the least output",
        edit(_E, "_attempt", ("min_out=routed.min_out", "min_out=0")),
        2,
    ),
    # --- the table -----------------------------------------------------------------------------------------------
    Mutant(
        "cancel-submitted",
        "a submitted order cannot be cancelled",
        also(Status.CANCELLED, after=Status.SUBMITTED),
        2,
    ),
    Mutant(
        "cancel-confirmed",
        "what is confirmed stays confirmed",
        also(Status.CANCELLED, after=Status.CONFIRMED),
        4,
    ),
    Mutant(
        "cancel-ignores-conflict",
        "a cancellation that lost its race is not reported as done",
        edit(Cancel, "__call__", ("order = conflict.current\n            continue", "return cancelled")),
        15,
    ),
    Mutant(
        "seq-skips",
        "sequence numbers have no gap",
        edit(_L, "_step", ("last.seq + 1", "last.seq + 1 + (status is Status.CONFIRMED)")),
        0,
    ),
    # --- two writes, recovery ------------------------------------------------------------------------------------
    Mutant(
        "lost-sends-forgotten",
        "the sweeper sends what no worker has taken",
        edit(
            sweep, "stranded", ('Stranded(True, "no worker has taken it")', 'Stranded(False, "no worker has taken it")')
        ),
        6,
    ),
    Mutant(
        "expiry-not-swept",
        "the sweeper ends resting orders at their time limit",
        edit(sweep, "_has_expired", ("expires_at <= now", "False")),
        1,
    ),
    Mutant(
        "one-item-stops-the-sweep",
        "one unreadable item does not keep the sweeper from the others",
        edit(sweep, "readable", ("observer.noted(", "raise order\n            observer.noted(")),
        1,
    ),
    Mutant(
        "key-forgotten",
        "an idempotency key always names the same order",
        edit(
            place.Place,
            "__call__",
            ("self.new_id() if idempotency_key is None else order_id_for(user_id, idempotency_key)", "self.new_id()"),
        ),
        1,
    ),
    Mutant(
        "replay-without-fingerprint",
        "the same key with another body is a conflict",
        edit(place.Place, "_replay", ("current.fingerprint != wanted", "False")),
        1,
    ),
    Mutant(
        "letters-dropped",
        "what cannot be read is kept",
        replaced(FakeQueue, "keep", lambda self, body, reason: _nothing()),
        3,
    ),
    # --- the stream of statuses ----------------------------------------------------------------------------------
    Mutant(
        "read-before-follow",
        "a subscription is stored before the order is read",
        edit(
            sockets.Subscribe,
            "one",
            ("        order = await self.orders.get(ref) or order\n", ""),
        ),
        254,
    ),
    Mutant(
        "failed-records-dropped",
        "records that failed come again",
        edit(push.PushEvents, "_user", ("return [change.record for change in changes]", "return []")),
        5,
    ),
    Mutant(
        "frames-to-everybody",
        "a socket gets the events of what it follows",
        edit(push.PushEvents, "_push_all", ("if socket.known.follows(mine[0].order_id)", "if True")),
        1,
    ),
    Mutant(
        "events-with-a-gap",
        "an event goes alone only after all before it",
        edit(push.PushEvents, "_frames", ("if has >= change.known_events:", "if True:")),
        8,
    ),
    Mutant(
        "believes-the-store",
        "a client has what it says, not what is stored",
        edit(sockets.Subscribe, "one", ("known=min(after, order.seq)", "known=order.seq")),
        162,
    ),
    Mutant(
        "remembers-what-failed",
        "what could not be sent was not sent",
        edit(
            push.PushEvents,
            "_push_order",
            ("for frame in self._frames(known, change):", "frames = self._frames(known, change)\n" + _NOTED_BEFORE),
        ),
        66,
    ),
    Mutant(
        "work-left-behind",
        "a handler returns when its work is done",
        edit(
            push,
            "_all",
            ("return_exceptions=True", "return_exceptions=False"),
            ("is not None", "is not None and False"),
        ),
        6,
    ),
    Mutant(
        "counted-twice",
        "a record that comes twice is counted once",
        replaced(FakeStatistics, "is_new", _always),
        1,
    ),
    Mutant(
        "counted-by-the-newest",
        "what one shard brings late is counted, whatever another has brought before",
        replaced(FakeStatistics, "is_new", _only_newer),
        25,
    ),
)


async def _nothing() -> None:
    return None


def first_seed(mutant: Mutant, limit: int) -> tuple[int, str] | None:
    """The first seed below ``limit`` under which the bug shows, and how; None if there is none."""
    for seed in range(limit):
        violation = mutant.shows(seed)
        if violation is not None:
            return seed, violation
    return None
