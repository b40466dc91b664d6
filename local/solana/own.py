"""A chain of our own beside the local stack: the node, its pools, and a wallet that holds everything.

The node has a thread and an event loop to itself. LiteSVM belongs to the thread that made it, and whoever waits for the
node must not keep it from answering.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nacl.signing import SigningKey

from local.solana.genesis import TAXED, Listing, begin, coin, fund
from local.solana.ledger import Chain, Weather
from local.solana.methods import Methods
from local.solana.pools import Coin
from local.solana.server import NodeServer
from order_engine.domain import base58
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT, Token

# The wallet's key is known to everybody who has this file. It is worth nothing anywhere else.
_SEED = hashlib.sha256(b"the wallet of the local chain").digest()
_LAMPORTS = 1_000 * 10**9
_TOKENS: tuple[Token, ...] = (SOL, USDC, USDT, BONK, JUP)
# Base units of every token in the wallet, SOL being wrapped: a million SOL, a thousand million USDC.
_HOLDING = 10**15
_START_S = 60.0


@dataclass(slots=True)
class OwnChain:
    """A chain that runs.

    Attributes:
        url: the node's address.
        wallet: the address that is funded.
        settings: environment of an engine that swaps on it.
        pools: of the chain's beginning.
    """

    url: str
    wallet: str
    settings: dict[str, str]
    pools: tuple[Listing, ...]


@dataclass(slots=True)
class _Node:
    """The thread that has the chain."""

    programs: dict[str, Path]
    wallet: str
    weather: Weather
    port: int
    url: str = ""
    pools: tuple[Listing, ...] = ()
    error: Exception | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - told to whoever waits for it
            self.error = error
        finally:
            self.ready.set()

    async def _serve(self) -> None:
        chain = Chain(lambda: time.time_ns() // 1_000_000, self.weather)
        self.pools = begin(chain, self.programs)
        coins: list[Coin] = [*(coin(token) for token in _TOKENS), TAXED]
        fund(chain, self.wallet, [(each, _HOLDING) for each in coins], lamports=_LAMPORTS)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with NodeServer(Methods(chain), port=self.port) as server:
            self.url = server.url
            self.ready.set()
            await self._stop.wait()

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def own_chain(programs: dict[str, Path], *, weather: Weather | None = None, port: int = 0) -> Iterator[OwnChain]:
    """Run a chain with pools of every kind until the block ends.

    Args:
        programs: the venues' programs by address; see ``genesis.find_programs``.
        port: 0 for a free one.
    """
    key = SigningKey(_SEED)
    address = base58.encode(bytes(key.verify_key))
    node = _Node(programs, address, weather or Weather(), port)
    thread = threading.Thread(target=node.run, name="solana", daemon=True)
    thread.start()
    try:
        if not node.ready.wait(_START_S):
            raise TimeoutError("The chain of our own did not start.")
        if node.error is not None:
            raise node.error
        with tempfile.TemporaryDirectory(prefix="order-engine-solana-") as folder:
            settings = _write(Path(folder), key, node.pools) | {"RPC_URL": node.url}
            yield OwnChain(node.url, address, settings, node.pools)
    finally:
        node.stop()
        thread.join(5)


def _write(folder: Path, key: SigningKey, pools: tuple[Listing, ...]) -> dict[str, str]:
    """The files that an engine's settings name."""
    wallet, listing = folder / "wallet.json", folder / "pools.json"
    secret = list(bytes(key) + bytes(key.verify_key))
    with os.fdopen(os.open(wallet, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(secret, file)
    tokens = [{"mint": token.mint, "symbol": token.symbol} for token in _TOKENS]
    tokens.append({"mint": TAXED.mint, "symbol": "TAXED"})
    listing.write_text(json.dumps({"pools": [each.address for each in pools], "tokens": tokens}))
    return {"MARKET": "solana", "SIGNER": f"file:{wallet}", "POOLS": str(listing)}
