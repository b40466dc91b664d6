"""The recorded results of the real on-chain programs (tests/vectors)."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from order_engine.venues.meteora.dlmm import DlmmPool
from order_engine.venues.solana.accounts import ChainClock
from order_engine.venues.solana.programs import dlmm

VECTORS = Path(__file__).parents[2] / "vectors"
DLMM_FILES = ("dlmm_9t3EyC.json", "dlmm_EtAdVR.json")


@cache
def load(name: str) -> dict[str, Any]:
    """One file of vectors."""
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return loaded


@dataclass(frozen=True)
class RecordedPair:
    """The accounts of one recorded DLMM pool."""

    pool_id: str
    lb_pair: bytes
    bin_arrays: tuple[bytes, ...]
    token_x_mint: bytes

    def pool(self, now: int) -> DlmmPool:
        """The pool at a time, unix seconds."""
        pair = dlmm.decode_pair(self.lb_pair)
        arrays = [dlmm.decode_bin_array(raw) for raw in self.bin_arrays]
        return dlmm.pool_of(self.pool_id, pair, arrays, ChainClock(pair.activates_at or 0, 0, now))


@cache
def recorded_pair(name: str) -> RecordedPair:
    """A recorded DLMM pool by the name of its file."""
    vectors = load(name)
    raw = {account: b64decode(data) for account, data in vectors["accounts"].items()}
    arrays = tuple(data for account, data in raw.items() if account.startswith("bin_array"))
    return RecordedPair(vectors["pool"], raw["lb_pair"], arrays, raw["token_x_mint"])
