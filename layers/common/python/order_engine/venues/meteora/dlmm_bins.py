"""What a Meteora DLMM pool is made of: bins and their prices, the fee and the volatility that it follows.

Source: commons/src/{extensions/lb_pair.rs, math/} of MeteoraAg/dlmm-sdk, which mirrors the program lb_clmm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from order_engine.domain.amounts import BPS
from order_engine.domain.errors import QuoteRefused
from order_engine.venues.integer import Q64, U128_MAX, ceil_div

FEE_PRECISION = 1_000_000_000
MAX_FEE_RATE = 100_000_000
MAX_BIN_ID = 443_636
_VARIABLE_FEE_SCALE = 100_000_000_000
_EXPONENT_BITS = 19


@lru_cache(maxsize=1 << 14)
def price_of_bin(bin_id: int, bin_step: int) -> int:
    """The price of a bin: base units of Y per base unit of X, Q64.64.

    (1 + bin_step / 10 000) ^ bin_id by squaring, every product rounded down, on the inverse of the base (which is
    below one, so that a u128 holds the products). Source: get_price_from_id and u64x64_math::pow.

    Args:
        bin_id: -443 636 to 443 636.
        bin_step: basis points between two neighbouring bins.

    Raises:
        QuoteRefused: no Q64.64 number holds the price.
    """
    if bin_id == 0:
        return Q64
    exponent = abs(bin_id)
    base = U128_MAX // (Q64 + (bin_step << 64) // BPS)
    result = Q64
    if exponent >> _EXPONENT_BITS:
        raise QuoteRefused("The bin's price is out of range.")
    while exponent:
        if exponent & 1:
            result = result * base >> 64
        base = base * base >> 64
        exponent >>= 1
    if result == 0:
        raise QuoteRefused("The bin's price is out of range.")
    return result if bin_id < 0 else U128_MAX // result


class CollectFeeMode(IntEnum):
    """Which token pays the fee; the values are those of the pool's account."""

    INPUT = 0
    ONLY_Y = 1


@dataclass(frozen=True, slots=True)
class Bin:
    """One price. Amounts in base units.

    Attributes:
        bin_id: the exponent of the price.
        amount_x: market-making liquidity in X.
        amount_y: market-making liquidity in Y.
        processed_orders: what is left of limit orders that are being filled; they go before the open ones.
        open_orders: limit orders that no swap has touched yet.
        orders_sell_x: the limit orders hold X (filled by Y to X swaps); else they hold Y.
        price: Q64.64 as stored; 0 where the program has not stored it and derives it from the id.
    """

    bin_id: int
    amount_x: int
    amount_y: int
    processed_orders: int = 0
    open_orders: int = 0
    orders_sell_x: bool = False
    price: int = 0


@dataclass(frozen=True, slots=True)
class DlmmParameters:
    """What is fixed about a pool's fees.

    Attributes:
        base_factor: the base fee is base_factor * bin_step * 10 * 10^base_fee_power_factor over 10^9.
        variable_fee_control: weight of the volatility in the fee.
        filter_period: seconds within which swaps count as one burst: the volatility's references stay.
        decay_period: seconds after which the volatility is forgotten.
        reduction_factor: basis points of the volatility that survive between the two periods.
        max_volatility_accumulator: ceiling of the volatility.
        protocol_share: basis points of every fee.
        limit_orders: whether the pool fills limit orders.
    """

    base_factor: int
    variable_fee_control: int
    filter_period: int
    decay_period: int
    reduction_factor: int
    max_volatility_accumulator: int
    protocol_share: int = 0
    base_fee_power_factor: int = 0
    collect_fee_mode: CollectFeeMode = CollectFeeMode.INPUT
    limit_orders: bool = False

    def fee_rate(self, volatility: int, bin_step: int) -> int:
        """The total fee over 10^9 at a volatility: base plus variable (rounded up), at most 10 %."""
        base = self.base_factor * bin_step * int(10 ** (1 + self.base_fee_power_factor))
        variable = ceil_div(self.variable_fee_control * (volatility * bin_step) ** 2, _VARIABLE_FEE_SCALE)
        return min(base + variable, MAX_FEE_RATE)


@dataclass(frozen=True, slots=True)
class Volatility:
    """The variable part of the fee, as the last swap left it.

    Attributes:
        accumulator: the last swap's volatility, 10 000 per bin crossed.
        reference: the volatility that later swaps start from.
        index_reference: the bin from which they count.
        updated_at: unix seconds of the last swap.
    """

    accumulator: int = 0
    reference: int = 0
    index_reference: int = 0
    updated_at: int = 0
