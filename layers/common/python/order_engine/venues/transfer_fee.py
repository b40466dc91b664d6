"""Token-2022 transfer fees: what a mint withholds from every transfer into and out of a pool.

Source: extension/transfer_fee of spl-token-2022. The venues' programs swap what arrives in the vault, and the trader
gets what arrives of the output, so the fee applies on both ways, outside the pool's own mathematics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from struct import Struct

from order_engine.domain.amounts import BPS, U64_MAX
from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.domain.quote import Curve, Piece
from order_engine.venues.integer import check_amount, side_of
from order_engine.venues.swap import Swap, SwapPool

_MINT_LENGTH = 82
_IS_INITIALIZED = 45
# A mint with extensions is padded to the length of a token account, so that both have their type at the same place.
_ACCOUNT_TYPE = 165
_EXTENSIONS = _ACCOUNT_TYPE + 1
_TYPE_MINT = 1
_HEADER = Struct("<HH")
_UNINITIALIZED = 0
_TRANSFER_FEE_CONFIG = 1
# Two authorities and the withheld amount, then the older and the newer fee: epoch, maximum, basis points.
_CONFIG = Struct("<72xQQHQQH")


@dataclass(frozen=True, slots=True)
class TransferFee:
    """A fee on transfers of a mint.

    Attributes:
        basis_points: of the amount sent.
        maximum: base units.
    """

    basis_points: int
    maximum: int

    def of(self, amount: int) -> int:
        """The fee on sending an amount, base units, rounded up."""
        return min(-(-amount * self.basis_points // BPS), self.maximum)

    def after(self, amount: int) -> int:
        """What arrives of an amount sent, base units."""
        return amount - self.of(amount)

    def regimes(self) -> tuple[tuple[int, int], ...]:
        """The fees of which the smaller applies, each as basis points of the amount and base units whatever it is."""
        if not self.basis_points or not self.maximum:
            return ((0, 0),)
        if self.basis_points * U64_MAX <= self.maximum * BPS:
            return ((self.basis_points, 0),)
        return ((self.basis_points, 0), (0, self.maximum))


NO_FEE = TransferFee(0, 0)


def decode_transfer_fee(mint: bytes, epoch: int) -> TransferFee:
    """The transfer fee of a mint's account in an epoch; NO_FEE for a mint without one, old or new.

    Raises:
        MalformedAccount: these are not the bytes of a mint.
    """
    if len(mint) < _MINT_LENGTH or mint[_IS_INITIALIZED] != 1:
        raise MalformedAccount("These bytes are not an initialised mint.")
    if len(mint) == _MINT_LENGTH:
        return NO_FEE
    if len(mint) < _EXTENSIONS or any(mint[_MINT_LENGTH:_ACCOUNT_TYPE]) or mint[_ACCOUNT_TYPE] != _TYPE_MINT:
        raise MalformedAccount("These bytes are not a mint with extensions.")
    at = _EXTENSIONS
    while at + _HEADER.size <= len(mint):
        extension, length = _HEADER.unpack_from(mint, at)
        if extension == _UNINITIALIZED:
            break
        at += _HEADER.size
        if at + length > len(mint):
            raise MalformedAccount("An extension of the mint is cut off.")
        if extension == _TRANSFER_FEE_CONFIG:
            if length != _CONFIG.size:
                raise MalformedAccount("The mint's transfer fee has an unknown layout.")
            _, older_maximum, older, newer_epoch, newer_maximum, newer = _CONFIG.unpack_from(mint, at)
            return TransferFee(newer, newer_maximum) if epoch >= newer_epoch else TransferFee(older, older_maximum)
        at += length
    return NO_FEE


def _scaled(pieces: Iterable[Piece], arrives: float, received: float) -> Iterator[Piece]:
    """A curve of what is sent and received, from one of what arrives in the pool and leaves it."""
    for price, bend, size in pieces:
        yield Piece(price * arrives * received, bend * arrives, size / arrives)


@dataclass(frozen=True, slots=True)
class TransferFeePool[P: SwapPool]:
    """A pool of which at least one mint charges for transfers. Amounts are what the trader sends and receives.

    Attributes:
        pool: the pool itself.
        transfer_fees: of the pool's two mints, in its order.
    """

    pool: P
    transfer_fees: tuple[TransferFee, TransferFee]

    @property
    def pool_id(self) -> str:
        """The pool's address."""
        return self.pool.pool_id

    @property
    def venue(self) -> str:
        """The pool's venue."""
        return self.pool.venue

    @property
    def kind(self) -> str:
        """The pool's program."""
        return self.pool.kind

    @property
    def mints(self) -> tuple[str, str]:
        """The pool's two mints."""
        return self.pool.mints

    def quote(self, mint_in: str, amount_in: int) -> int:
        """What arrives, in base units, for an exact amount sent: after the pool's fees and both transfers.

        Raises:
            QuoteRefused: as the pool, or nothing would arrive.
        """
        fee_in, fee_out = self._fees(mint_in)
        check_amount(amount_in)
        received = fee_out.after(self.pool.quote(mint_in, fee_in.after(amount_in)))
        if received == 0:
            raise QuoteRefused("The transfer fee would take the whole output.")
        return received

    def spot(self, mint_in: str) -> tuple[int, int]:
        """The pool's marginal price, before every fee."""
        return self.pool.spot(mint_in)

    def curves(self, mint_in: str) -> tuple[Curve, ...]:
        """The pool's curves under each regime of the two fees: a share of the amount, or the maximum.

        What arrives is the greater of the two, which is convex: a fee with a maximum makes the pool the greatest of
        several concave curves instead of one.

        Raises:
            QuoteRefused: as the pool.
        """
        fee_in, fee_out = self._fees(mint_in)
        return tuple(
            Curve(
                _scaled(curve.pieces, 1 - share_in / BPS, 1 - share_out / BPS),
                curve.idle + most_in,
                curve.toll + most_out,
            )
            for share_in, most_in in fee_in.regimes()
            for share_out, most_out in fee_out.regimes()
            if share_in < BPS and share_out < BPS
            for curve in self.pool.curves(mint_in)
        )

    def swap(self, mint_in: str, amount_in: int) -> Swap[TransferFeePool[P]]:
        """The same swap as ``quote``. Its ``fees`` are the pool's: transfer fees are the mints', not the venue's.

        Raises:
            QuoteRefused: as ``quote``.
        """
        received = self.quote(mint_in, amount_in)
        fee_in, _ = self._fees(mint_in)
        inner = self.pool.swap(mint_in, fee_in.after(amount_in))
        return Swap(mint_in, inner.mint_out, amount_in, received, inner.fees, replace(self, pool=inner.pool))

    def _fees(self, mint_in: str) -> tuple[TransferFee, TransferFee]:
        side = side_of(self.pool.mints, mint_in)
        return self.transfer_fees[side], self.transfer_fees[1 - side]
