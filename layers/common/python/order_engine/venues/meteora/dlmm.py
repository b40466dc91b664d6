"""Meteora DLMM: liquidity in bins of one price each, as the program lb_clmm computes it.

Source: commons/src/{quote.rs, extensions/bin.rs, extensions/lb_pair.rs, math/} of MeteoraAg/dlmm-sdk, which mirrors
the program, and the program's own results (tests/vectors).

A swap drains bin after bin. As long as a bin is drained, what it takes and gives does not depend on the size of the
swap, and the volatility, hence the fee rate, depends on the bin's index only. So both are summed once per direction
into a table that grows as far as quotes reach, and a quote is one bisection and one partly filled bin: exact, not an
approximation. The tables are not made for several threads at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

from order_engine.domain.amounts import BPS, U64_MAX
from order_engine.domain.errors import QuoteRefused
from order_engine.domain.quote import Curve, Piece
from order_engine.domain.venues import METEORA
from order_engine.venues.integer import Q64, ceil_div, check_amount, side_of
from order_engine.venues.meteora.dlmm_bins import (
    FEE_PRECISION,
    Bin,
    CollectFeeMode,
    DlmmParameters,
    Volatility,
    price_of_bin,
)
from order_engine.venues.swap import Fees, Swap

__all__ = ["Bin", "CollectFeeMode", "DlmmParameters", "DlmmPool", "Volatility", "price_of_bin"]


_CALM = Volatility()


class _Filled(NamedTuple):
    """What one bin did in a swap, in base units; ``consumed`` and ``out`` after the fee."""

    consumed: int
    out: int
    fee: int
    maker_in: int
    maker_out: int
    processed_out: int
    open_out: int


_NOTHING = _Filled(0, 0, 0, 0, 0, 0, 0)


@dataclass(slots=True)
class _Table:
    """One direction of a pool: its bins in the order in which a swap meets them, as far as quotes have reached.

    ``drained_from[k]`` is the least total input that drains the bins 0 to k; ``inputs[k]`` and ``outputs[k]`` are
    what the bins before k take and give when drained, the totals what all bins so far do.
    """

    ahead: Iterator[tuple[Bin, int]]
    bins: list[Bin] = field(default_factory=list)
    prices: list[int] = field(default_factory=list)
    rates: list[int] = field(default_factory=list)
    drained_from: list[int] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    total_in: int = 0
    total_out: int = 0


@dataclass(frozen=True, slots=True)
class DlmmPool:
    """A snapshot of a DLMM pool at one time.

    Attributes:
        mints: X, Y.
        active_id: the bin that trades.
        bin_step: basis points between two neighbouring bins.
        volatility: as the last swap left it.
        now: unix seconds; what the volatility decays by before the swap.
        bins: the known bins, ids ascending. A bin that is not among them counts as empty, so a swap that would need
            bins beyond them is refused, never partly filled.
    """

    kind: ClassVar[str] = "dlmm"
    venue: ClassVar[str] = METEORA

    pool_id: str
    mints: tuple[str, str]
    active_id: int
    bin_step: int
    parameters: DlmmParameters
    bins: tuple[Bin, ...]
    volatility: Volatility = _CALM
    now: int = 0
    _tables: dict[int, _Table] = field(default_factory=dict, init=False, repr=False, compare=False)

    def quote(self, mint_in: str, amount_in: int) -> int:
        """Output in base units for an exact input, after every fee of the pool; rounded down per bin.

        Raises:
            QuoteRefused: the bins hold too little, or the output would be zero.
        """
        check_amount(amount_in)
        side = side_of(self.mints, mint_in)
        table = self._table(side, amount_in)
        drained = bisect_right(table.drained_from, amount_in)
        if drained == len(table.bins):
            raise QuoteRefused("The pool's bins hold too little for this amount.")
        last = self._fill(
            table.bins[drained],
            table.prices[drained],
            table.rates[drained],
            amount_in - table.inputs[drained],
            for_y=side == 0,
        )
        out = table.outputs[drained] + last.out
        if not 0 < out <= U64_MAX:
            raise QuoteRefused("The output would be zero, or larger than an account can hold.")
        return out

    def spot(self, mint_in: str) -> tuple[int, int]:
        """The marginal price before fees, that of the first bin with liquidity: Q64.64 over 2^64, or its inverse."""
        side = side_of(self.mints, mint_in)
        table = self._table(side, 0)
        price = table.prices[0] if table.prices else price_of_bin(self.active_id, self.bin_step)
        return (price, Q64) if side == 0 else (Q64, price)

    def curves(self, mint_in: str) -> tuple[Curve, ...]:
        """A piece per bin, which do not bend; neighbours are joined where the second would be the better one."""
        return (Curve(self._pieces(side_of(self.mints, mint_in))),)

    def _pieces(self, side: int) -> Iterator[Piece]:
        for_y = side == 0
        start = self._decayed()
        # Prices fall from bin to bin. Only towards the index reference, where the fee falls too, may they rise.
        beyond = self.active_id if not self.parameters.variable_fee_control else start.index_reference
        waiting: list[Piece] = []
        for met, price in self._walk(side):
            rate = self.parameters.fee_rate(self._accumulator(start, met.bin_id), self.bin_step)
            kept = 1 - rate / FEE_PRECISION
            out = sum(self._layers(met, for_y))
            value = price / Q64 if for_y else Q64 / price
            size = out / value
            if self._fee_on_input(for_y):
                piece = Piece(value * kept, 0.0, size / kept)
            else:
                piece = Piece(value * kept, 0.0, size)
            settled = met.bin_id <= beyond if for_y else met.bin_id >= beyond
            while waiting and waiting[-1].price < piece.price:
                worse = waiting.pop()
                size = worse.size + piece.size
                piece = Piece((worse.price * worse.size + piece.price * piece.size) / size, 0.0, size)
                settled = False
            waiting.append(piece)
            if settled:
                yield from waiting
                waiting.clear()
        yield from waiting

    def swap(self, mint_in: str, amount_in: int) -> Swap[DlmmPool]:
        """The same swap as ``quote``, walked bin by bin, with its fees and the pool afterwards.

        In the pool afterwards the bins hold what the swap put in less the fees (the program keeps those apart). What
        filled limit orders were paid belongs to their makers and does not trade.

        Raises:
            QuoteRefused: as ``quote``.
        """
        check_amount(amount_in)
        side = side_of(self.mints, mint_in)
        start = self._decayed()
        left, out, fee, protocol = amount_in, 0, 0, 0
        changed: dict[int, Bin] = {}
        active_id, accumulator = self.active_id, start.accumulator
        for met, price in self._walk(side):
            active_id, accumulator = met.bin_id, self._accumulator(start, met.bin_id)
            rate = self.parameters.fee_rate(accumulator, self.bin_step)
            filled = self._fill(met, price, rate, left, for_y=side == 0)
            left -= filled.consumed
            out += filled.out
            fee += filled.fee
            protocol += filled.fee * self.parameters.protocol_share // BPS
            changed[active_id] = _after(met, filled, for_y=side == 0)
            if left == 0:
                break
        if left:
            raise QuoteRefused("The pool's bins hold too little for this amount.")
        if not 0 < out <= U64_MAX:
            raise QuoteRefused("The output would be zero, or larger than an account can hold.")
        fee_mint = mint_in if self._fee_on_input(side == 0) else self.mints[1]
        return Swap(
            mint_in=mint_in,
            mint_out=self.mints[1 - side],
            amount_in=amount_in,
            amount_out=out,
            fees=Fees(fee_mint, fee - protocol, protocol, 0, 0, fee_mint),
            pool=replace(
                self,
                active_id=active_id,
                bins=tuple(changed.get(b.bin_id, b) for b in self.bins),
                volatility=Volatility(accumulator, start.reference, start.index_reference, self.now),
            ),
        )

    def _fee_on_input(self, for_y: bool) -> bool:
        return self.parameters.collect_fee_mode == CollectFeeMode.INPUT or not for_y

    def _decayed(self) -> Volatility:
        """The references that a swap at ``now`` starts from (LbPair::update_references)."""
        last, fixed = self.volatility, self.parameters
        elapsed = self.now - last.updated_at
        if elapsed < fixed.filter_period:
            return last
        kept = last.accumulator * fixed.reduction_factor // BPS if elapsed < fixed.decay_period else 0
        return replace(last, reference=kept, index_reference=self.active_id)

    def _accumulator(self, start: Volatility, bin_id: int) -> int:
        """The volatility while a bin trades (LbPair::update_volatility_accumulator)."""
        crossed = abs(start.index_reference - bin_id)
        return min(start.reference + crossed * BPS, self.parameters.max_volatility_accumulator)

    def _layers(self, of: Bin, for_y: bool) -> tuple[int, int, int]:
        """What a bin can give: market-making liquidity, processed orders, open orders."""
        maker = of.amount_y if for_y else of.amount_x
        if self.parameters.limit_orders and of.orders_sell_x != for_y:
            return maker, of.processed_orders, of.open_orders
        return maker, 0, 0

    def _walk(self, side: int) -> Iterator[tuple[Bin, int]]:
        """The bins that have something to give, with their prices, in the order in which a swap meets them."""
        for_y = side == 0
        for met in reversed(self.bins) if for_y else self.bins:
            ahead = met.bin_id <= self.active_id if for_y else met.bin_id >= self.active_id
            if ahead and any(self._layers(met, for_y)):
                yield met, met.price or price_of_bin(met.bin_id, self.bin_step)

    def _table(self, side: int, amount_in: int) -> _Table:
        """The table of a direction, grown until its last bin is not drained by the amount, or the bins end."""
        table = self._tables.get(side)
        if table is None:
            table = self._tables[side] = _Table(self._walk(side))
        if not table.drained_from or table.drained_from[-1] <= amount_in:
            self._grow(table, amount_in, for_y=side == 0)
        return table

    def _grow(self, table: _Table, amount_in: int, *, for_y: bool) -> None:
        fee_on_input = self._fee_on_input(for_y)
        start: Volatility | None = None
        for met, price in table.ahead:
            # Not before there is a bin: a quote above the last one asks again each time.
            start = start or self._decayed()
            rate = self.parameters.fee_rate(self._accumulator(start, met.bin_id), self.bin_step)
            try:
                drain = self._fill(met, price, rate, None, for_y=for_y)
            except QuoteRefused:
                # The program cannot compute what would drain the bin, so no swap goes beyond it.
                drain, beyond = _NOTHING, U64_MAX + 1
            else:
                net = drain.consumed - drain.fee if fee_on_input else drain.consumed
                # The program moves on when the input less its fee exceeds what the bin absorbs, so at net + 1.
                beyond = ceil_div((net + 1) * FEE_PRECISION, FEE_PRECISION - rate) if fee_on_input else net + 1
            table.bins.append(met)
            table.prices.append(price)
            table.rates.append(rate)
            table.inputs.append(table.total_in)
            table.outputs.append(table.total_out)
            table.drained_from.append(table.total_in + beyond)
            table.total_in += drain.consumed
            table.total_out += drain.out
            if table.drained_from[-1] > amount_in:
                return

    def _fill(self, of: Bin, price: int, rate: int, left: int | None, *, for_y: bool) -> _Filled:
        """Swap in one bin (Bin::swap).

        Args:
            rate: the fee over 10^9.
            left: the input that is left, base units; None to drain the bin.
            for_y: X to Y.

        Raises:
            QuoteRefused: a layer that the swap meets takes more than a u64 to drain. The program computes that amount
                first, whatever the swap's size, and ends with TypeCastFailed or MathOverflow.
        """
        fee_on_input = self._fee_on_input(for_y)
        fee = 0
        net = left
        if left is not None and fee_on_input:
            fee = -(-left * rate // FEE_PRECISION)
            net = left - fee
        outs = [0, 0, 0]
        used = maker_in = 0
        for layer, available in enumerate(self._layers(of, for_y)):
            if available == 0 or (layer and used == net):
                continue
            # The input that takes the whole layer, rounded up.
            need = -(-(available << 64) // price) if for_y else -(-available * price >> 64)
            if need > U64_MAX:
                raise QuoteRefused("A bin is too large for the program's numbers.")
            if net is None or net - used >= need:
                took, gave = need, available
            else:
                took = net - used
                gave = price * took >> 64 if for_y else (took << 64) // price
            used += took
            outs[layer] = gave
            if layer == 0:
                maker_in = took
        out = sum(outs)
        if out > U64_MAX:
            raise QuoteRefused("A bin is too large for the program's numbers.")
        consumed = used
        if fee_on_input:
            if net is None or used < net:
                fee = -(-used * rate // (FEE_PRECISION - rate))
            consumed = used + fee
        else:
            fee = -(-out * rate // FEE_PRECISION)
            out -= fee
        return _Filled(consumed, out, fee, maker_in, *outs)


def _after(of: Bin, filled: _Filled, *, for_y: bool) -> Bin:
    """The bin once a swap has filled it. Open orders that a swap has touched are processed ones."""
    processed, opened = of.processed_orders - filled.processed_out, of.open_orders
    if filled.open_out:
        processed, opened = processed + opened - filled.open_out, 0
    return replace(
        of,
        amount_x=of.amount_x + filled.maker_in if for_y else of.amount_x - filled.maker_out,
        amount_y=of.amount_y - filled.maker_out if for_y else of.amount_y + filled.maker_in,
        processed_orders=processed,
        open_orders=opened,
    )
