"""Virtual time, chance, invocations that die, and calls that do not come back: what everything else stands on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.loop import VirtualLoop

EPOCH_MS = 1_800_000_000_000


class Violation(AssertionError):
    """The engine broke one of its promises."""


class Unreachable(Exception):
    """A service did not answer, or answered with an error of its own."""


@dataclass(slots=True)
class Faults:
    """How likely each kind of fault is, per call or per invocation. All zero: a world that works.

    Attributes:
        refused: a call fails without effect.
        unanswered: a call has its effect, and its caller gets an error.
        stalled: a call takes 0.2 to 30 seconds.
        killed: an invocation dies before or after one of its calls.
        frozen: an invocation stands still at one of its calls, is given up by Lambda, and goes on a minute later.
        zombie: an invocation that ran out of time goes on unseen instead of dying.
        throttled: an invocation is refused by Lambda, its messages having been received.
        doubled: a batch is handed to two invocations at once, or the schedule fires twice.
        redelivered: a spent message or a finished batch of the stream comes again.
        skew_ms: how far an invocation's clock may be off, either way.
        lost: a broadcast goes nowhere.
        late: a broadcast lands near the end of its validity, or after.
        rejected: a transaction lands with an error.
        vanishing: a broadcast lands on a fork that dies, where it is seen for a while.
        unrecorded: what a transaction did is not told until up to 8 s after it landed.
        silent: a chain look-up without history does not find what is there.
        behind: a question to the chain is answered by a node that has not come as far as others.
        forked: it is answered by one whose newest blocks are of a fork that dies.
        misdated: a node says that its newest block hash is good for more or fewer blocks than it is.
        lacking: a configured node has no blocks of a part of the past.
        lying: of several configured nodes, one says what is not so.
        disconnected: a socket breaks.
        shuffled: messages come in any order.
    """

    refused: float = 0
    unanswered: float = 0
    stalled: float = 0
    killed: float = 0
    frozen: float = 0
    zombie: float = 0
    throttled: float = 0
    doubled: float = 0
    redelivered: float = 0
    skew_ms: int = 0
    lost: float = 0
    late: float = 0
    rejected: float = 0
    silent: float = 0
    disconnected: float = 0
    shuffled: float = 0
    behind: float = 0
    forked: float = 0
    vanishing: float = 0
    unrecorded: float = 0
    misdated: float = 0
    lacking: float = 0
    lying: float = 0


_RATES: dict[str, tuple[float, float]] = {
    "refused": (0.01, 0.15),
    "unanswered": (0.01, 0.15),
    "stalled": (0.005, 0.08),
    "killed": (0.1, 0.8),
    "frozen": (0.02, 0.3),
    "zombie": (0.3, 1.0),
    "throttled": (0.02, 0.4),
    "doubled": (0.05, 0.5),
    "redelivered": (0.05, 0.5),
    "lost": (0.05, 0.6),
    "late": (0.05, 0.6),
    "rejected": (0.05, 0.5),
    "silent": (0.05, 0.9),
    "disconnected": (0.05, 0.5),
    "shuffled": (0.5, 1.0),
}

_OF_NODES = ("behind", "forked", "vanishing", "unrecorded", "misdated", "lacking", "lying")


def draw_faults(rng: random.Random) -> Faults:
    """A random climate: about half of the kinds occur at all, each with its own frequency.

    Leaving kinds out reaches states that a mixture of everything never does ("swarm testing", Groce et al., 2012).
    """
    faults = Faults()
    for name, (low, high) in _RATES.items():
        if rng.random() < 0.5:
            setattr(faults, name, low + (high - low) * rng.random() ** 2)
    if rng.random() < 0.5:
        faults.skew_ms = rng.randint(1, 800)
    # Drawn beside the others, so that the seeds that are known by what they find keep their dice.
    beside = random.Random()
    beside.setstate(rng.getstate())
    for name in _OF_NODES:
        if beside.random() < 0.3:
            setattr(faults, name, 0.05 + 0.9 * beside.random() ** 2)
    return faults


@dataclass(slots=True, eq=False)
class Invocation:
    """One run of a handler.

    Attributes:
        fatal: it dies at this one of its calls (counted from 0), before or after the call's effect, or freezes there.
        dead: it was killed; nothing that it still does has an effect.
        done: its handler has returned.
    """

    name: str
    number: int
    skew_ms: int = 0
    fatal: tuple[int, str] | None = None
    calls: int = 0
    dead: bool = False
    done: bool = False
    task: asyncio.Task[Any] | None = None
    outcome: asyncio.Future[tuple[bool, Any]] | None = None

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"


_current: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


def current() -> Invocation | None:
    """The invocation that the running code belongs to."""
    return _current.get()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the trace."""

    at_ms: int
    who: str
    what: str


@dataclass(slots=True)
class World:
    """Time, chance and the wire between invocations and services.

    Attributes:
        fatal_calls: the crash-point sweep's plan: the n-th call of the run kills its invocation, before or after.
        points: names of all calls so far, if ``recording``.
        paused: functions that are not run, and the share of their invocations that is refused.
        broken: names of calls that are always ``refused``, or ``unanswered`` after their effect.
        running: handlers that have not returned yet, by name; also those that Lambda has given up.
        writer, writing: the task and the invocation whose call is being carried out.
        on_death: told of every invocation that is killed.
    """

    seed: int
    loop: VirtualLoop
    faults: Faults = field(default_factory=Faults)
    fatal_calls: dict[int, str] = field(default_factory=dict)
    recording: bool = False
    tracing: bool = False
    rng: random.Random = field(init=False)
    calls: int = 0
    invocations: int = 0
    points: list[str] = field(default_factory=list)
    trace: list[Line] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    violation: Violation | None = None
    regardless: bool = False
    broken: dict[str, str] = field(default_factory=dict)
    paused: dict[str, float] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)
    writer: asyncio.Task[Any] | None = None
    writing: Invocation | None = None
    on_death: Callable[[Invocation], None] = lambda invocation: None

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    # --- time ----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The true time, milliseconds since the epoch."""
        return EPOCH_MS + round(self.loop.time() * 1000)

    def now_ms(self) -> int:
        """The time as the running invocation's machine tells it (``Clock``)."""
        invocation = _current.get()
        return self.now + (invocation.skew_ms if invocation else 0)

    async def sleep(self, ms: int) -> None:
        invocation = _current.get()
        await asyncio.sleep(ms / 1000)
        self._refuse_the_dead(invocation)

    # --- chance --------------------------------------------------------------------------------------------------

    def happens(self, kind: str) -> bool:
        """Whether a fault of this kind occurs now; counts it."""
        likely: float = getattr(self.faults, kind)
        if likely and self.rng.random() < likely:
            self.counted[kind] += 1
            return True
        return False

    # --- calls ---------------------------------------------------------------------------------------------------

    async def call[T](self, name: str, effect: Callable[[], T], *, again: bool = False) -> T:
        """``Wire.call`` with delays, faults and deaths."""
        invocation = _current.get()
        self._refuse_the_dead(invocation)
        if invocation is not None and invocation.done:
            self.violate(f"{invocation} still calls {name} after its handler has returned")
        number, self.calls = self.calls, self.calls + 1
        fate = self._fate(invocation, number)
        if self.recording:
            self.points.append(f"{invocation or 'world'} {name}")
        self.note(name, "…")
        if fate == "before":
            await self._die(invocation, name, fate)
        elif fate == "freeze":
            await self._freeze(invocation, name)
        if self.broken.get(name) == "refused" or self.happens("refused"):
            await asyncio.sleep(self.rng.randint(1, 10) / 1000)
            raise Unreachable(name)
        caller = asyncio.current_task()
        await self._travel(invocation, name, effect)
        answer, error = self._carry_out(name, effect, caller, invocation)
        if fate == "after":
            await self._die(invocation, name, fate)
        mute = self.broken.get(name) == "unanswered"
        if mute or self.happens("unanswered"):
            self.note(name, "done, but not answered")
            if mute or not again or self.rng.random() < 0.5:
                await asyncio.sleep(self.rng.randint(1, 2000) / 1000)
                raise Unreachable(name)
            await asyncio.sleep(self.rng.randint(1, 3000) / 1000)
            self._refuse_the_dead(invocation)
            answer, error = self._carry_out(name, effect, caller, invocation)
        if error is not None:
            raise error
        return answer()

    def _carry_out[T](
        self, name: str, effect: Callable[[], T], caller: asyncio.Task[Any] | None, invocation: Invocation | None
    ) -> tuple[Callable[[], T], Exception | None]:
        self.writer, self.writing = caller, invocation
        try:
            answer = effect()
        except Violation:
            raise
        except Exception as error:  # noqa: BLE001 - a service's refusal is an answer; it may get lost like any other
            self.note(name, type(error).__name__)
            return _no_answer, error
        self.note(name, "done")
        return lambda: answer, None

    async def _travel(self, invocation: Invocation | None, name: str, effect: Callable[[], object]) -> None:
        """The way there. Who stops waiting, or dies, cannot know whether the call still arrives."""
        wait = self.rng.randint(1, 12)
        if self.happens("stalled"):
            # From a fifth of a second to half a minute, short ones as often as long ones.
            wait = round(200 * 150 ** self.rng.random())
            self.note(name, f"stalls for {wait} ms")
        try:
            await asyncio.sleep(wait / 1000)
        except asyncio.CancelledError:
            chance = self.rng.random()
            if chance < 0.6:
                self.counted["abandoned call with effect"] += 1
                delay = 0 if chance < 0.3 else self.rng.randint(1, 10_000)
                self.note(name, f"given up by its caller, and yet arrives after {delay} ms")
                self.loop.call_later(delay / 1000, self._carry_out, name, effect, asyncio.current_task(), invocation)
            raise
        self._refuse_the_dead(invocation)

    def later(self, name: str, effect: Callable[[], None]) -> None:
        """``Wire.later``: indexes lag, mostly a little."""
        lag = self.rng.randint(1, 40) if self.rng.random() < 0.9 else self.rng.randint(40, 1500)
        self.loop.call_later(lag / 1000, effect)

    # --- invocations ---------------------------------------------------------------------------------------------

    async def invoke[R](
        self, name: str, handler: Callable[[Invocation], Coroutine[Any, Any, R]], *, timeout_ms: int
    ) -> tuple[bool, R | None]:
        """Run a handler as Lambda does. Returns whether it succeeded, and what it returned."""
        if self.happens("throttled"):
            return False, None
        if name in self.paused and self.rng.random() < self.paused[name]:
            self.counted["paused"] += 1
            return False, None
        self.invocations += 1
        skew = self.rng.randint(-self.faults.skew_ms, self.faults.skew_ms) if self.faults.skew_ms else 0
        invocation = Invocation(name, self.invocations, skew)
        if self.faults.killed and self.rng.random() < self.faults.killed:
            invocation.fatal = (self.rng.randint(0, 14), self.rng.choice(("before", "after")))
        elif self.faults.frozen and self.rng.random() < self.faults.frozen:
            invocation.fatal = (self.rng.randint(0, 10), "freeze")
        outcome: asyncio.Future[tuple[bool, Any]] = self.loop.create_future()
        invocation.outcome = outcome
        context = copy_context()
        context.run(_current.set, invocation)
        task = self.loop.create_task(handler(invocation), context=context)
        invocation.task = task
        self.running[name] += 1
        task.add_done_callback(lambda done: self._ended(invocation, done))
        timer = self.loop.call_later(timeout_ms / 1000, self._timed_out, invocation)
        try:
            return await outcome
        finally:
            timer.cancel()

    def _ended(self, invocation: Invocation, task: asyncio.Task[Any]) -> None:
        invocation.done = True
        self.running[invocation.name] -= 1
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Violation):
            self.violation = self.violation or error
        elif error is not None:
            self.note("error", f"{type(error).__name__}: {error}", invocation)
        assert invocation.outcome is not None
        if not invocation.outcome.done():
            failed = task.cancelled() or error is not None
            invocation.outcome.set_result((False, None) if failed else (True, task.result()))

    def _timed_out(self, invocation: Invocation) -> None:
        assert invocation.outcome is not None
        if invocation.outcome.done():
            return
        if self.happens("zombie"):
            self.note("lambda", "timed out, and yet goes on", invocation)
            invocation.outcome.set_result((False, None))
        else:
            self.counted["timed out"] += 1
            self.kill(invocation, "timed out")

    def kill(self, invocation: Invocation, why: str) -> None:
        """Stop an invocation at once: none of its later calls has an effect."""
        if invocation.dead or invocation.done:
            return
        invocation.dead = True
        self.note("lambda", f"dies: {why}", invocation)
        assert invocation.outcome is not None
        assert invocation.task is not None
        if not invocation.outcome.done():
            invocation.outcome.set_result((False, None))
        invocation.task.cancel()
        self.on_death(invocation)

    def _fate(self, invocation: Invocation | None, number: int) -> str | None:
        if invocation is None:
            return None
        mine, invocation.calls = invocation.calls, invocation.calls + 1
        if number in self.fatal_calls:
            return self.fatal_calls[number]
        if invocation.fatal is not None and invocation.fatal[0] == mine:
            return invocation.fatal[1]
        return None

    async def die(self, name: str) -> None:
        """The running invocation dies here, for a reason of its own."""
        await self._die(_current.get(), name, "in")

    async def _die(self, invocation: Invocation | None, name: str, when: str) -> None:
        assert invocation is not None
        self.counted["killed"] += 1
        self.kill(invocation, f"just {when} {name}")
        # Not only the handler ends: this may be a task of its own that nobody else would ever end.
        raise asyncio.CancelledError

    async def _freeze(self, invocation: Invocation | None, name: str) -> None:
        assert invocation is not None
        assert invocation.outcome is not None
        self.counted["frozen"] += 1
        wait = self.rng.randint(5_000, 60_000)
        self.note("lambda", f"freezes at {name} for {wait} ms, and is given up", invocation)
        if not invocation.outcome.done():
            invocation.outcome.set_result((False, None))
        await asyncio.sleep(wait / 1000)
        self._refuse_the_dead(invocation)

    @staticmethod
    def _refuse_the_dead(invocation: Invocation | None) -> None:
        if invocation is not None and invocation.dead:
            raise asyncio.CancelledError

    # --- what is seen --------------------------------------------------------------------------------------------

    def note(self, name: str, what: str, invocation: Invocation | None = None) -> None:
        """Add to the trace."""
        if self.tracing:
            who = str(invocation or _current.get() or "world")
            self.trace.append(Line(self.now - EPOCH_MS, who, f"{name} {what}"))

    def violate(self, what: str) -> None:
        """Record a broken promise; the first one counts.

        Raises:
            Violation: unless the world goes on regardless.
        """
        found = Violation(what)
        self.violation = self.violation or found
        self.note("VIOLATION", what)
        if not self.regardless:
            raise found


def _no_answer() -> Any:
    raise AssertionError("There was no answer.")
