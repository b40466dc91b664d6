"""Routes as a router would divide an order."""

from __future__ import annotations

from dataclasses import dataclass, field

from order_engine.domain.quote import Leg
from order_engine.venues.raydium.amm_v4 import AmmV4Pool
from order_engine.venues.solana.build import SwapPlan, plan_swaps
from order_engine.venues.solana.programs.amm_v4 import AmmV4Accounts
from order_engine.venues.solana.programs.program import LivePool

A = "So11111111111111111111111111111111111111112"


M = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"


B = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"


EDGES = {"direct": (A, B), "into": (A, M), "out": (M, B)}


NAMES = ["JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", "4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R"]


WALLET = "6S7W3WUWe7P83msBS3YBt8GYpphPHqPnTV9VV86wiPxq"


@dataclass
class Route:
    """Legs over pools, as a router would divide an order."""

    pools: dict[str, LivePool] = field(default_factory=dict)
    legs: list[Leg] = field(default_factory=list)

    def add(self, edge: str, amount_in: int, depth: int = 10**15) -> int:
        mints = EDGES[edge]
        pool_id = f"{edge}{len(self.pools)}"
        pool = AmmV4Pool(pool_id, mints, (depth, depth))
        accounts = AmmV4Accounts(NAMES[0], (NAMES[1], NAMES[0]), mints)
        self.pools[pool_id] = LivePool(pool, accounts)
        out = pool.quote(mints[0], amount_in)
        self.legs.append(Leg("raydium", pool_id, *mints, amount_in, out))
        return out

    def plan(self, min_out: int, tolerance: int = 5) -> SwapPlan:
        return plan_swaps(self.legs, self.pools, B, min_out=min_out, path_tolerance_bps=tolerance)
