"""Transfer fees of Token-2022 mints, and pools whose mints charge them."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.domain.quote import Pool
from order_engine.venues.raydium.cpmm import CpmmPool
from order_engine.venues.transfer_fee import NO_FEE, TransferFee, TransferFeePool, decode_transfer_fee
from tests.unit.venues.recorded import DLMM_FILES, recorded_pair

X, Y = "mint-x", "mint-y"
FEES = st.builds(TransferFee, st.integers(0, 10_000), st.integers(0, 2**40))


def extension(kind: int, value: bytes) -> bytes:
    return pack("<HH", kind, len(value)) + value


def fee_config(older: tuple[int, int, int], newer: tuple[int, int, int]) -> bytes:
    """A TransferFeeConfig; each fee is (epoch, maximum, basis points)."""
    return extension(1, bytes(72) + pack("<QQH", *older) + pack("<QQH", *newer))


def mint(*extensions: bytes) -> bytes:
    base = bytearray(82)
    base[45] = 1
    return bytes(base) + bytes(83) + b"\x01" + b"".join(extensions) if extensions else bytes(base)


CLOSE_AUTHORITY = extension(3, bytes(32))
CHARGING = mint(CLOSE_AUTHORITY, fee_config((5, 1_000, 50), (9, 2_000, 100)))


@pytest.mark.parametrize("name", DLMM_FILES)
def test_the_recorded_mints_charge_nothing(name: str) -> None:
    assert decode_transfer_fee(recorded_pair(name).token_x_mint, epoch=0) == NO_FEE


@pytest.mark.parametrize(
    ("epoch", "fee"),
    [
        (0, TransferFee(50, 1_000)),
        (8, TransferFee(50, 1_000)),
        (9, TransferFee(100, 2_000)),
        (99, TransferFee(100, 2_000)),
    ],
)
def test_the_newer_fee_applies_from_its_epoch_on(epoch: int, fee: TransferFee) -> None:
    assert decode_transfer_fee(CHARGING, epoch) == fee


def test_a_mint_with_other_extensions_only_charges_nothing() -> None:
    assert decode_transfer_fee(mint(CLOSE_AUTHORITY), epoch=1) == NO_FEE
    assert decode_transfer_fee(mint(CLOSE_AUTHORITY, bytes(10)), epoch=1) == NO_FEE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(82),
        mint()[:-1],
        mint() + bytes(10),
        CHARGING[:-1],
        CHARGING[:165] + b"\x02" + CHARGING[166:],
        CHARGING[:100] + b"\x01" + CHARGING[101:],
        mint(extension(1, bytes(50))),
    ],
    ids=["empty", "uninitialised", "short", "cut", "cut extension", "token account", "foreign", "unknown layout"],
)
def test_bytes_that_are_no_mint_are_named_so(data: bytes) -> None:
    with pytest.raises(MalformedAccount):
        decode_transfer_fee(data, epoch=0)


def test_a_fee_is_rounded_up_and_has_a_maximum() -> None:
    fee = TransferFee(basis_points=100, maximum=500)
    assert [fee.of(amount) for amount in (0, 1, 100, 101, 50_000, 10**12)] == [0, 1, 1, 2, 500, 500]


def charging(fee_x: TransferFee, fee_y: TransferFee) -> TransferFeePool[CpmmPool]:
    pool = CpmmPool("pool", (X, Y), (10**12, 2 * 10**12), 2_500, 120_000, 40_000)
    return TransferFeePool(pool, (fee_x, fee_y))


def test_the_pool_swaps_what_arrives_and_the_trader_gets_what_arrives() -> None:
    charged = charging(TransferFee(100, 10**9), TransferFee(50, 10**9))
    arrives = charged.pool.quote(X, 990_000)
    assert charged.quote(X, 1_000_000) == arrives - -(-arrives * 50 // 10_000)
    swap = charged.swap(X, 1_000_000)
    assert (swap.amount_in, swap.amount_out) == (1_000_000, charged.quote(X, 1_000_000))
    assert swap.pool.pool == charged.pool.swap(X, 990_000).pool


def test_it_is_the_pool_that_it_wraps_to_the_router() -> None:
    charged: Pool = charging(NO_FEE, NO_FEE)
    inner = charging(NO_FEE, NO_FEE).pool
    assert (charged.pool_id, charged.venue, charged.kind, charged.mints) == ("pool", "raydium", "cpmm", (X, Y))
    assert charged.spot(Y) == inner.spot(Y)
    assert charged.quote(Y, 12_345) == inner.quote(Y, 12_345)


def test_an_output_that_the_fee_takes_whole_is_refused() -> None:
    with pytest.raises(QuoteRefused):
        charging(NO_FEE, TransferFee(10_000, 10**9)).quote(X, 1_000)


def test_an_input_that_the_fee_takes_whole_is_refused() -> None:
    with pytest.raises(QuoteRefused):
        charging(TransferFee(10_000, 10**9), NO_FEE).quote(X, 1_000)


@given(FEES, FEES, st.integers(1, 2**42), st.integers(1, 2**42))
def test_more_in_never_gives_less_out(fee_x: TransferFee, fee_y: TransferFee, one: int, other: int) -> None:
    pool = charging(fee_x, fee_y)
    less, more = sorted((one, other))
    try:
        lower = pool.quote(X, less)
    except QuoteRefused:
        assume(False)
    assert lower <= pool.quote(X, more)
