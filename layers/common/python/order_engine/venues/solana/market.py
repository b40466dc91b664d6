"""The live market: pools on Solana, read from a node. Everything is made when it is first used.

Its settings are checked as they are used, too, so that a function which never swaps needs none of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from order_engine.domain.errors import MalformedAccount, VenuesUnavailable
from order_engine.domain.token_list import TokenList
from order_engine.domain.tokens import WELL_KNOWN, Token
from order_engine.domain.venues import VENUES
from order_engine.engine.routing.breaker import GuardedVenue
from order_engine.settings import SettingsError
from order_engine.venues.solana.accounts import View
from order_engine.venues.solana.addresses import CLOCK
from order_engine.venues.solana.listing import ListedToken, Listing, read_listing
from order_engine.venues.solana.node import Caller, Node
from order_engine.venues.solana.pools import PoolSource
from order_engine.venues.solana.rpc import JsonRpc, NodeRefused, NodeUnavailable, check_urls
from order_engine.venues.solana.venue import LiveVenue, Unusables

if TYPE_CHECKING:
    from order_engine.engine.ports import Clock, Venue
    from order_engine.settings import SolanaSettings
    from order_engine.venues.solana.chain import SolanaChain
    from order_engine.venues.solana.signer import Signer

# What one swap takes of the compute budget, where it crosses few bins or ticks (docs/live.md has the figures).
UNITS_PER_LEG = 60_000
_MICRO = 1_000_000
# Quotes of one process share a reading for so long: however many ask, the provider is asked this often.
_QUOTES_FRESH_S = 0.4
# A value that is not written down but kept in a store of secrets, under the name that follows.
_SECRET = "secret:"  # noqa: S105 - a mark, not a secret


def _no_secrets(name: str) -> str:
    raise SettingsError("secret:NAME is for stages on AWS.")


class _Late:
    """Calls of a node whose addresses are a secret, which is read when the first call comes."""

    def __init__(self, make: Callable[[], JsonRpc], setting: str) -> None:
        self._make = make
        self._setting = setting
        self._made: JsonRpc | None = None

    async def call(self, method: str, *params: Any) -> Any:
        """Implements ``Caller.call``."""
        return await (await self._rpc()).call(method, *params)

    async def apart(self) -> Sequence[Caller]:
        """As ``JsonRpc.apart``."""
        return await (await self._rpc()).apart()

    async def _rpc(self) -> JsonRpc:
        if self._made is None:
            try:
                self._made = await asyncio.to_thread(self._make)
            except SettingsError as error:
                raise NodeUnavailable(str(error)) from None
            except Exception as error:  # noqa: BLE001 - of whatever keeps secrets; it is asked again by the next call
                raise NodeUnavailable(f"{self._setting} cannot be read ({type(error).__name__}).") from None
        return self._made


@dataclass(eq=False)
class Solana:
    """The live market, as it is set.

    Attributes:
        note: is told of what is left out, in a sentence.
        reveal: reads a secret by its name; it may block, and raise anything.
    """

    settings: SolanaSettings
    clock: Clock
    note: Callable[[str], None]
    reveal: Callable[[str], str] = _no_secrets
    _source: PoolSource | None = field(default=None, init=False)
    _making: threading.Lock = field(default_factory=threading.Lock, init=False)

    @cached_property
    def listing(self) -> Listing:
        """Which pools and tokens are traded.

        Raises:
            SettingsError: the file does not say so.
        """
        if not self.settings.pools:
            raise SettingsError("POOLS is not set: MARKET=solana needs the path of a file that lists pools and tokens.")
        return read_listing(Path(self.settings.pools))

    @cached_property
    def node(self) -> Node:
        """Whom to ask and whom to send to.

        Raises:
            SettingsError: no address is given, or one is none.
        """
        given = self.settings
        rpc = self._rpc(given.rpc_url, "RPC_URL")
        return Node(rpc, self._rpc(given.send_url, "SEND_URL") if given.send_url else None, rpc.apart)

    def _rpc(self, text: str, setting: str) -> JsonRpc | _Late:
        if not text.startswith(_SECRET):
            return JsonRpc(check_urls(text, setting))
        return _Late(lambda: JsonRpc(check_urls(self.reveal(text.removeprefix(_SECRET)), setting)), setting)

    @cached_property
    def signer(self) -> Signer:
        """Who signs.

        Raises:
            SettingsError: no key is named, or it cannot be read.
        """
        kind, mark, named = self.settings.signer.partition(":")
        if not mark or not named or kind not in ("file", "secret", "address"):
            raise SettingsError("SIGNER must be file:PATH, where PATH is a key file as `solana-keygen` writes it.")
        from order_engine.venues.solana.signer import FileSigner, LateSigner, Watcher

        if kind == "file":
            return FileSigner(Path(named))
        return Watcher(named) if kind == "address" else LateSigner(lambda: self.reveal(named), "SIGNER: the secret")

    @property
    def source(self) -> PoolSource:
        """What reads the pools: the one of all venues and the chain, which builds from what the venues have quoted.

        Threads that come first at the same time get the same one, which a cached property does not promise.
        """
        with self._making:
            if self._source is None:
                only_looks = self.settings.signer.startswith("address:")
                self._source = PoolSource(self.node, self.listing.pools, fresh_s=_QUOTES_FRESH_S if only_looks else 0.0)
            return self._source

    @cached_property
    def venues(self) -> Sequence[Venue]:
        """Raydium and Meteora, over the one source."""
        unusables = Unusables(self.note)
        return tuple(GuardedVenue(LiveVenue(name, self.source, unusables), self.clock) for name in VENUES)

    @cached_property
    def chain(self) -> SolanaChain:
        """What builds, signs and sends."""
        from order_engine.venues.solana.chain import SolanaChain
        from order_engine.venues.solana.priority import FeePolicy

        given = self.settings
        fees = FeePolicy(given.priority_fee_percentile, given.priority_fee_max_microlamports)
        return SolanaChain(self.node, self.signer, self.source, self.clock, fees)

    @cached_property
    def tokens(self) -> TokenList:
        """What can be traded. Decimals never change: those that are not known here are read from the mints, once.

        Raises:
            SettingsError: a mint is none, or the file of pools is wrong.
            VenuesUnavailable: no node tells.
        """
        decimals = {known.mint: known.decimals for known in WELL_KNOWN}
        unknown = [each for each in self.listing.tokens if each.mint not in decimals]
        if unknown:
            # Whoever asks for the tokens may be within an event loop and cannot wait there: a thread can.
            with ThreadPoolExecutor(1, "mints") as beside:
                decimals |= beside.submit(asyncio.run, self._decimals(unknown)).result()
        try:
            return TokenList(tuple(Token(each.symbol, each.mint, decimals[each.mint]) for each in self.listing.tokens))
        except ValueError as error:
            raise SettingsError(f"POOLS: {error}") from None

    async def _decimals(self, tokens: Sequence[ListedToken]) -> dict[str, int]:
        mints = [each.mint for each in tokens]
        try:
            _, accounts = await self.node.accounts([CLOCK, *mints])
        except (NodeUnavailable, NodeRefused) as error:
            raise VenuesUnavailable(f"The tokens' mints cannot be read. {error}") from None
        view = View(accounts)
        try:
            return {mint: view.mint(mint).decimals for mint in mints}
        except MalformedAccount as error:
            raise SettingsError(f"POOLS: {error.message}") from None

    @property
    def lamports_per_leg(self) -> int:
        """The most that one swap's priority fee comes to: routes are compared by it."""
        return -(-UNITS_PER_LEG * self.settings.priority_fee_max_microlamports // _MICRO)
