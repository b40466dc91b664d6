"""A Solana of the simulation: a ledger that alone says what was swapped, and nodes that know more or less of it.

The nodes answer in JSON-RPC's words, so that all that the engine has for Solana is under test but its venues' programs
and pools. A slot has one block or none; a transaction lands in blocks up to its last valid height. What a node says of
the newest slots may be of a fork that dies: then it denies what the others have there. It may have thrown away old
blocks, or have a gap where it was away; and one of several may say what is not so.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from order_engine.domain import base58
from order_engine.domain.order import OrderRef, SignedTransaction
from order_engine.venues.solana.addresses import CPMM
from order_engine.venues.solana.parse import parse
from order_engine.venues.solana.rpc import NodeRefused, NodeUnavailable
from tests.simulation.market import ADDRESSES, SwingMarket
from tests.simulation.world import EPOCH_MS, Unreachable, World, current

# As in late 2026.
BLOCK_MS = 200
# For how many blocks a transaction may land.
VALID_BLOCKS = 150
# A fork does not come to be longer than this before the network's votes have decided.
LONGEST_FORK = 32
# Everything is about slots of a chain that has been there for a while.
_FIRST_SLOT = 10_000
_FEE, _UNITS = 5000, 100_000
_SLIPPAGE, _REFUSED = {"Custom": 6005}, {"Custom": 6999}
# How the calls of the methods are named in traces, outages and crash points.
_NAMES = {
    "simulateTransaction": "chain.build",
    "getLatestBlockhash": "chain.build",
    "sendTransaction": "chain.broadcast",
    "getSignatureStatuses": "chain.status",
    "getEpochInfo": "chain.height",
    "getTransaction": "chain.ledger",
    "isBlockhashValid": "chain.blockhash",
    "getBlock": "chain.blocks",
    "getBlocksWithLimit": "chain.blocks",
    "minimumLedgerSlot": "chain.blocks",
    "getSignaturesForAddress": "chain.list",
}
_NO_BLOCK = -32004
_VENUES = {address: venue for venue, address in ADDRESSES.items()}


@dataclass(slots=True)
class Landing:
    """What the ledger holds for one signature.

    Attributes:
        at: milliseconds since the epoch.
        amount_out: base units; None if it landed with an error.
        error: as nodes write it.
        recorded_at: from when on the nodes can tell what it did, beyond that it landed.
    """

    at: int
    slot: int
    amount_out: int | None
    error: Any
    recorded_at: int


@dataclass(slots=True)
class Transaction:
    """A signed transaction, by what its bytes say. Amounts in base units.

    Attributes:
        ref: the order that it was built for first.
        swap: which of its calls is the swap, from 0.
        fate: what becomes of it, whatever the dice say: lost or rejected.
        dying: from which slot on and up to which there is a fork that has it and will die.
    """

    signature: str
    ref: OrderRef
    payer: str
    note: str
    swap: int
    venue: str
    mint_in: str
    mint_out: str
    amount_in: int
    min_out: int
    last_valid: int
    fate: str | None = None
    lands_at: int | None = None
    landing: Landing | None = None
    dying: tuple[int, int] | None = None


@dataclass(slots=True)
class SimNode:
    """One of the configured addresses. Behind it stand machines of different age that have the same of the past.

    Attributes:
        keeps: of how many slots it has the blocks; None for all.
        away: from which slot to which it has no blocks.
        denies: it knows of no transaction, and says so.
        ahead: by how many slots it says to be further than it is.
    """

    keeps: int | None = None
    away: tuple[int, int] | None = None
    denies: bool = False
    ahead: int = 0


def draw_nodes(world: World, count: int, bad_ms: int) -> list[SimNode]:
    """Some nodes, of which each may lack a part of the past; and of several, one may say what is not so."""
    # Dice of its own, so that all else of a seed stays as it is.
    rng = random.Random(f"nodes {world.seed}")
    nodes = [SimNode() for _ in range(count)]
    for node in nodes:
        if rng.random() < world.faults.lacking:
            world.counted["lacking"] += 1
            if rng.random() < 0.5:
                node.keeps = rng.randint(50, 500)
            else:
                begin = _FIRST_SLOT + rng.randint(0, bad_ms) // BLOCK_MS
                node.away = (begin, begin + rng.randint(1, 150))
    if count > 1 and rng.random() < world.faults.lying:
        world.counted["lying"] += 1
        liar = rng.choice(nodes)
        liar.denies = rng.random() < 0.5
        liar.ahead = 0 if liar.denies else rng.randint(1, 1000)
    return nodes


@dataclass(frozen=True, slots=True)
class _View:
    """One node's idea of the chain.

    Attributes:
        node: whose it is.
        tip: the newest slot that it has a block for.
        reach: up to which slot its blocks are those of the others; the later ones are of a fork that will die.
        confirmed: the newest slot that has reached this commitment.
    """

    node: SimNode
    tip: int
    reach: int
    confirmed: int

    def has(self, slot: int) -> bool:
        """Whether it has a slot's block, and the same as everybody."""
        away = self.node.away
        kept = self.node.keeps is None or slot > self.tip - self.node.keeps
        return slot <= self.reach and kept and not (away and away[0] <= slot <= away[1])

    def at(self, commitment: str) -> int:
        return self.tip if commitment == "processed" else self.confirmed

    def commitment(self, slot: int) -> str:
        return "confirmed" if slot <= self.confirmed else "processed"


@dataclass(slots=True)
class Network:
    """The chain and its nodes. Implements ``node.Caller``.

    Args:
        nodes: the configured addresses.
        confirmed_after: how many slots later a block is confirmed.
        skips: every so many slots have no block; 0 for none.
        on_broadcast, on_landing: told of each, for the checks.
        script: what becomes of the n-th transaction signed (from 1), whatever the dice say: lost or rejected.
    """

    world: World
    market: SwingMarket
    nodes: list[SimNode]
    confirmed_after: int
    skips: int
    on_broadcast: Callable[[Transaction], None]
    on_landing: Callable[[Transaction], None]
    script: dict[int, str] = field(default_factory=dict)
    signed: dict[str, Transaction] = field(default_factory=dict)
    _hashes: dict[str, int] = field(default_factory=dict)

    # --- the truth -----------------------------------------------------------------------------------------------

    def slot(self) -> int:
        return (self.world.now - EPOCH_MS) // BLOCK_MS + _FIRST_SLOT

    def height(self, slot: int) -> int:
        """How many blocks there are up to a slot."""
        return slot - slot // self.skips if self.skips else slot

    def can_still_land(self, signature: str) -> bool:
        known = self.signed[signature]
        return known.landing is None and self.height(self.slot()) <= known.last_valid

    def register(self, ref: OrderRef, tx: SignedTransaction) -> None:
        """Note what was signed, for the checks. Equal bytes are one transaction, whoever signed them."""
        read = parse(base64.b64decode(tx.raw))
        ((place, swap),) = ((n, call) for n, call in enumerate(read.calls) if call.program == CPMM)
        amount_in, min_out = (int.from_bytes(swap.data[start : start + 8], "little") for start in (0, 8))
        pool, mint_in = swap.accounts
        # Behind the addresses, of which there are fewer than 128.
        lifetime = 5 + 32 * len(read.addresses)
        blockhash = self._hashes[base58.encode(read.message[lifetime : lifetime + 32])]
        transaction = Transaction(
            signature=read.signature,
            ref=ref,
            payer=read.payer,
            note=read.note,
            swap=place,
            venue=_VENUES[pool],
            mint_in=mint_in,
            mint_out=read.bought,
            amount_in=amount_in,
            min_out=min_out,
            last_valid=self.height(blockhash) + VALID_BLOCKS,
            fate=self.script.get(len(self.signed) + 1),
        )
        self.signed.setdefault(read.signature, transaction)

    def _blockhash(self, slot: int) -> str:
        if self._empty(slot):
            slot -= 1
        name = base58.encode(hashlib.sha256(slot.to_bytes(8)).digest())
        self._hashes[name] = slot
        return name

    def _empty(self, slot: int) -> bool:
        return bool(self.skips) and slot % self.skips == 0

    def _begin_of(self, slot: int) -> int:
        return (slot - _FIRST_SLOT) * BLOCK_MS + EPOCH_MS

    def _end_of(self, height: int) -> int:
        """When the last block of a height is over, milliseconds since the epoch."""
        slot = height
        while self.height(slot) < height:
            slot += height - self.height(slot)
        return self._begin_of(slot + 1)

    def _arrive(self, known: Transaction) -> None:
        """Somebody has given the bytes to a node. They are in a block some time later, or never."""
        world, rng = self.world, self.world.rng
        self.on_broadcast(known)
        if known.landing is not None or known.lands_at is not None or self.height(self.slot()) > known.last_valid:
            return
        if known.fate == "lost" or world.happens("lost"):
            return
        if world.happens("vanishing"):
            known.dying = (self.slot(), self.slot() + rng.randint(2, LONGEST_FORK))
            return
        delay = rng.randint(300, 2500)
        if world.happens("late"):
            # Around the last block in which it is valid, from where everything is a race.
            end = self._end_of(known.last_valid)
            delay = max(0, end - world.now - rng.choice((rng.randint(1, BLOCK_MS), rng.randint(-400, 1500))))
        known.lands_at = world.now + delay
        world.loop.call_later(delay / 1000, self._land, known)

    def _land(self, known: Transaction) -> None:
        world, slot = self.world, self.slot()
        if self._empty(slot):
            world.loop.call_later(BLOCK_MS / 1000, self._land, known)
            return
        if self.height(slot) > known.last_valid:
            known.lands_at = None
            return
        error: Any = None
        out = self._out(known)
        if out < known.min_out:
            error = _in_swap(known, _SLIPPAGE)
        elif known.fate == "rejected" or world.happens("rejected"):
            # Either says something against the pool, or against nobody.
            error = world.rng.choice((_in_swap(known, _REFUSED), "InvalidRentPayingAccount"))
        late = world.rng.randint(1, 8_000) if world.happens("unrecorded") else 0
        known.landing = Landing(world.now, slot, None if error else out, error, world.now + late)
        world.note("ledger", f"{known.note} lands in {slot}, {error or 'swapped'}")
        self.on_landing(known)

    def _out(self, known: Transaction) -> int:
        return self.market.pool(known.venue, self.world.now).quote(known.mint_in, known.amount_in)

    # --- its nodes -----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Whatever was wrong with nodes is repaired."""
        self.nodes[:] = [SimNode() for _ in self.nodes]

    async def apart(self) -> Sequence[Network | _One]:
        """As ``JsonRpc.apart``."""
        return [self] if len(self.nodes) == 1 else [_One(self, place) for place in range(len(self.nodes))]

    async def call(self, method: str, *params: Any) -> Any:
        """Implements ``Caller.call``: one of the nodes answers, or nobody does.

        Raises:
            NodeRefused, NodeUnavailable: there is no answer.
        """
        return await self.call_of(self.world.rng.randrange(len(self.nodes)), method, *params)

    async def call_of(self, place: int, method: str, *params: Any) -> Any:
        """As ``JsonRpc.call_of``, of one node."""
        answer = getattr(self, f"_{method}")
        invocation = current()
        if method != "sendTransaction" and invocation is not None and invocation.done:
            # Looks are shared and go on by themselves: Lambda lets them sleep until their connection has ended.
            raise NodeUnavailable("The connection was closed.")
        try:
            return await self.world.call(_NAMES[method], lambda: answer(self._view(self.nodes[place]), *params))
        except Unreachable as error:
            raise NodeUnavailable("No node answered.") from error

    def _view(self, node: SimNode) -> _View:
        """What the machine knows that stands behind an address this time."""
        world, tip = self.world, self.slot()
        if world.happens("behind"):
            tip -= world.rng.randint(1, 150)
        reach = tip
        if world.happens("forked"):
            reach -= world.rng.randint(1, LONGEST_FORK)
        if node.ahead:
            return _View(node, tip + node.ahead, tip + node.ahead, tip + node.ahead)
        return _View(node, tip, reach, min(reach, tip - self.confirmed_after))

    def _getEpochInfo(self, view: _View, options: Any) -> Any:  # noqa: N802 - as the methods are called
        slot = view.at(options["commitment"])
        return {"absoluteSlot": slot, "blockHeight": self.height(slot)}

    def _getLatestBlockhash(self, view: _View, options: Any) -> Any:  # noqa: N802
        slot = view.at(options["commitment"])
        return _of(slot, self._newest(slot))

    def _newest(self, slot: int) -> Any:
        wrong = self.world.rng.randint(-VALID_BLOCKS, 300) if self.world.happens("misdated") else 0
        blockhash = self._blockhash(min(slot, self.slot()))
        return {"blockhash": blockhash, "lastValidBlockHeight": self.height(slot) + VALID_BLOCKS + wrong}

    def _isBlockhashValid(self, view: _View, blockhash: str, options: Any) -> Any:  # noqa: N802
        slot = view.at(options["commitment"])
        known = self._hashes.get(blockhash)
        good = known is not None and 0 <= self.height(slot) - self.height(known) <= VALID_BLOCKS
        return _of(slot, good)

    def _minimumLedgerSlot(self, view: _View) -> int:  # noqa: N802
        return 0 if view.node.keeps is None else view.tip - view.node.keeps + 1

    def _getBlocksWithLimit(self, view: _View, first: int, most: int, options: Any) -> list[int]:  # noqa: N802
        slots = range(first, view.at(options["commitment"]) + 1)
        return [slot for slot in slots if view.has(slot) and not self._empty(slot)][:most]

    def _getBlock(self, view: _View, slot: int, options: Any) -> Any:  # noqa: N802
        if slot > view.at(options["commitment"]) or not view.has(slot) or self._empty(slot):
            raise NodeRefused(_NO_BLOCK, f"Block not available for slot {slot}")
        return {"blockHeight": self.height(slot)}

    def _simulateTransaction(self, view: _View, raw: str, options: Any) -> Any:  # noqa: N802
        slot = view.at(options["commitment"])
        value = {"err": None, "logs": [], "unitsConsumed": _UNITS, "replacementBlockhash": self._newest(slot)}
        return _of(slot, value)

    def _sendTransaction(self, view: _View, raw: str, options: Any) -> str:  # noqa: N802
        signature = parse(base64.b64decode(raw)).signature
        self._arrive(self.signed[signature])
        return signature

    def _getSignatureStatuses(self, view: _View, signatures: list[str], options: Any) -> Any:  # noqa: N802
        history = options["searchTransactionHistory"]
        return _of(view.tip, [self._status(view, self.signed[each], history) for each in signatures])

    def _status(self, view: _View, known: Transaction, history: bool) -> Any:
        landing = known.landing
        if landing is not None and view.has(landing.slot) and not view.node.denies:
            if not history and self.world.happens("silent"):
                return None
            return _told(landing.slot, view.commitment(landing.slot), landing.error)
        if known.dying is not None and known.dying[0] <= view.tip <= known.dying[1]:
            return _told(known.dying[0], "processed", None)
        return None

    def _getTransaction(self, view: _View, signature: str, options: Any) -> Any:  # noqa: N802
        """Real nodes tell of nothing that is only ``processed``. Should one, it would be as far as it knows."""
        known = self.signed[signature]
        landing = known.landing
        if landing is not None and landing.slot <= view.at(options["commitment"]) and view.has(landing.slot):
            if view.node.denies:
                return None
            return self._record(known, landing) if landing.recorded_at <= self.world.now else None
        if options["commitment"] == "processed" and known.dying and known.dying[0] <= view.tip <= known.dying[1]:
            at = self._begin_of(known.dying[0])
            return self._record(known, Landing(at, known.dying[0], self._out(known), None, at))
        return None

    @staticmethod
    def _record(known: Transaction, landing: Landing) -> Any:
        def holding(amount: int) -> Any:
            return {"owner": known.payer, "mint": known.mint_out, "uiTokenAmount": {"amount": str(amount)}}

        return {
            "slot": landing.slot,
            "transaction": {"signatures": [known.signature], "message": {"accountKeys": [known.payer]}},
            "meta": {
                "err": landing.error,
                "fee": _FEE,
                "preBalances": [10 * _FEE],
                "postBalances": [9 * _FEE],
                "preTokenBalances": [holding(1000)],
                "postTokenBalances": [holding(1000 + (landing.amount_out or 0))],
                "logMessages": [],
            },
        }

    def _getSignaturesForAddress(self, view: _View, address: str, options: Any) -> Any:  # noqa: N802
        newest = view.at(options["commitment"])
        landed = [
            (known.landing, known)
            for known in self.signed.values()
            if known.landing is not None and known.landing.slot <= newest and view.has(known.landing.slot)
        ]
        landed.sort(key=lambda each: each[0].at, reverse=True)
        return [
            {
                "signature": known.signature,
                "slot": landing.slot,
                "err": landing.error,
                "blockTime": landing.at // 1000,
                "memo": f"[{len(known.note)}] {known.note}",
            }
            for landing, known in landed
        ]


@dataclass(frozen=True, slots=True)
class _One:
    """One of several nodes, and no other in its place."""

    network: Network
    place: int

    async def call(self, method: str, *params: Any) -> Any:
        return await self.network.call_of(self.place, method, *params)


def _of(slot: int, value: Any) -> Any:
    return {"context": {"slot": slot}, "value": value}


def _told(slot: int, commitment: str, error: Any) -> Any:
    return {"slot": slot, "confirmations": 1, "err": error, "confirmationStatus": commitment}


def _in_swap(known: Transaction, error: Any) -> Any:
    return {"InstructionError": [known.swap, error]}
