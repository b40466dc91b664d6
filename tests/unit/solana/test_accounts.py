"""Pools from raw account bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from struct import pack_into

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.errors import MalformedAccount, QuoteRefused
from order_engine.venues.meteora.dlmm import CollectFeeMode, DlmmParameters, Volatility
from order_engine.venues.raydium.cpmm import CpmmPool, CreatorFeeOn
from order_engine.venues.solana.accounts import ChainClock
from order_engine.venues.solana.addresses import from_bytes
from order_engine.venues.solana.programs import cpmm, dlmm
from tests.unit.venues.recorded import DLMM_FILES, load, recorded_pair

type Decode = Callable[[bytes], object]

SOL = "So11111111111111111111111111111111111111112"
SOL_BYTES = bytes.fromhex("069b8857feab8184fb687f634618c035dac439dc1aeb3b5598a0f00000000001")
VAULT_0, VAULT_1, MINT_1, CONFIG = (bytes([n]) * 32 for n in (1, 2, 3, 4))


def cpmm_state(*, status: int = 0, creator_fee_on: int = 0, creator_fee_enabled: int = 0) -> bytes:
    data = bytearray(637)
    data[:8] = bytes([247, 237, 227, 245, 215, 195, 222, 70])
    data[8:40] = CONFIG
    data[72:136] = VAULT_0 + VAULT_1
    data[168:232] = SOL_BYTES + MINT_1
    data[329] = status
    # LP supply, the fees of protocol and fund, and the time from which the pool is open.
    pack_into("<QQQQQQ", data, 333, 77, 11, 12, 21, 22, 1_700_000_000)
    data[389], data[390] = creator_fee_on, creator_fee_enabled
    pack_into("<QQ", data, 397, 31, 32)
    return bytes(data)


def cpmm_config() -> bytes:
    data = bytearray(236)
    data[:8] = bytes([218, 244, 33, 104, 203, 203, 43, 111])
    pack_into("<QQQQ", data, 12, 2_500, 120_000, 40_000, 150_000_000)
    pack_into("<Q", data, 108, 500)
    return bytes(data)


def test_addresses_are_base58() -> None:
    assert from_bytes(SOL_BYTES) == SOL
    assert from_bytes(bytes(32)) == "1" * 32
    with pytest.raises(MalformedAccount):
        from_bytes(bytes(31))


def test_a_cpmm_pool_trades_what_its_vaults_hold_beyond_what_it_owes() -> None:
    state = cpmm.decode_state(cpmm_state())
    assert (state.config, state.vaults) == (from_bytes(CONFIG), (from_bytes(VAULT_0), from_bytes(VAULT_1)))
    config = cpmm.decode_config(cpmm_config())
    assert config == cpmm.CpmmConfig(2_500, 120_000, 40_000, 500)
    pool = cpmm.pool_of("pool", state, config, vaults=(1_000, 2_000), now=1_700_000_000)
    assert pool == CpmmPool(
        pool_id="pool",
        mints=(SOL, from_bytes(MINT_1)),
        reserves=(1_000 - 11 - 21 - 31, 2_000 - 12 - 22 - 32),
        trade_fee_rate=2_500,
        protocol_fee_rate=120_000,
        fund_fee_rate=40_000,
    )


def test_the_creators_fee_applies_where_the_pool_enables_it() -> None:
    state = cpmm.decode_state(cpmm_state(creator_fee_on=2, creator_fee_enabled=1))
    pool = cpmm.pool_of("pool", state, cpmm.decode_config(cpmm_config()), vaults=(1_000, 2_000), now=1_800_000_000)
    assert (pool.creator_fee_rate, pool.creator_fee_on) == (500, CreatorFeeOn.ONLY_TOKEN_1)


@pytest.mark.parametrize(("status", "now"), [(0, 1_699_999_999), (4, 1_800_000_000), (7, 1_800_000_000)])
def test_a_cpmm_pool_that_is_closed_or_not_open_yet_is_refused(status: int, now: int) -> None:
    state = cpmm.decode_state(cpmm_state(status=status))
    with pytest.raises(QuoteRefused):
        cpmm.pool_of("pool", state, cpmm.decode_config(cpmm_config()), vaults=(1_000, 2_000), now=now)


def test_a_cpmm_pool_that_takes_no_deposits_still_swaps() -> None:
    state = cpmm.decode_state(cpmm_state(status=0b011))
    assert state.swaps_enabled


def test_vaults_that_hold_less_than_is_owed_are_not_of_the_same_moment() -> None:
    state = cpmm.decode_state(cpmm_state())
    with pytest.raises(MalformedAccount):
        cpmm.pool_of("pool", state, cpmm.decode_config(cpmm_config()), vaults=(62, 2_000), now=1_800_000_000)


def test_a_recorded_pair_is_read_in_full() -> None:
    recorded = recorded_pair("dlmm_EtAdVR.json")
    pair = dlmm.decode_pair(recorded.lb_pair)
    assert pair.mints == ("Df6yfrKC8kZE3KNkrHERKzAetSxbrWeniQfyJY4Jpump", SOL)
    assert (pair.active_id, pair.bin_step, pair.enabled, pair.activates_at) == (15, 250, True, None)
    assert pair.volatility == Volatility(10_000, 0, 16, 1_734_391_447)
    assert pair.parameters == DlmmParameters(
        base_factor=4_000,
        variable_fee_control=7_500,
        filter_period=300,
        decay_period=1_200,
        reduction_factor=5_000,
        max_volatility_accumulator=150_000,
        limit_orders=True,
    )


def test_a_recorded_pair_that_charges_in_y_only_is_read_so() -> None:
    parameters = dlmm.decode_pair(recorded_pair("dlmm_9t3EyC.json").lb_pair).parameters
    assert parameters.collect_fee_mode is CollectFeeMode.ONLY_Y
    assert (parameters.base_fee_power_factor, parameters.protocol_share, parameters.limit_orders) == (1, 2_000, True)


@pytest.mark.parametrize("name", DLMM_FILES)
def test_every_bin_belongs_to_the_recorded_pool(name: str) -> None:
    recorded = recorded_pair(name)
    for raw in recorded.bin_arrays:
        bins = dlmm.decode_bin_array(raw)
        first = int.from_bytes(raw[8:16], "little", signed=True) * 70
        assert [b.bin_id for b in bins] == list(range(first, first + 70))
        # The array names its pool.
        assert from_bytes(raw[24:56]) == load(name)["pool"]


def test_a_pair_that_pays_rewards_takes_no_limit_orders_unless_made_for_them() -> None:
    data = bytearray(recorded_pair("dlmm_EtAdVR.json").lb_pair)
    data[264:296] = SOL_BYTES
    assert not dlmm.decode_pair(bytes(data)).parameters.limit_orders
    data[35] = 1
    data[264:296] = bytes(32)
    assert not dlmm.decode_pair(bytes(data)).parameters.limit_orders
    data[35] = 2
    assert dlmm.decode_pair(bytes(data)).parameters.limit_orders


def test_a_pair_trades_from_its_activation_on() -> None:
    pair = dlmm.decode_pair(recorded_pair("dlmm_9t3EyC.json").lb_pair)
    assert (pair.activates_at, pair.activates_by_slot) == (448_432_755, True)
    assert dlmm.pool_of("pool", pair, [], ChainClock(448_432_755, 0, 0)).bins == ()
    with pytest.raises(QuoteRefused):
        dlmm.pool_of("pool", pair, [], ChainClock(448_432_754, 0, 10**10))
    by_time = replace(pair, activates_by_slot=False)
    assert dlmm.pool_of("pool", by_time, [], ChainClock(0, 0, 448_432_755)).now == 448_432_755
    with pytest.raises(QuoteRefused):
        dlmm.pool_of("pool", by_time, [], ChainClock(10**10, 0, 448_432_754))


def test_a_disabled_pair_is_refused() -> None:
    data = bytearray(recorded_pair("dlmm_EtAdVR.json").lb_pair)
    data[82] = 1
    with pytest.raises(QuoteRefused):
        dlmm.pool_of("pool", dlmm.decode_pair(bytes(data)), [], ChainClock(0, 0, 0))


PAIR = recorded_pair("dlmm_EtAdVR.json")
DECODERS: list[tuple[Decode, bytes]] = [
    (cpmm.decode_state, cpmm_state()),
    (cpmm.decode_config, cpmm_config()),
    (dlmm.decode_pair, PAIR.lb_pair),
    (dlmm.decode_bin_array, PAIR.bin_arrays[0]),
]


@pytest.mark.parametrize(("decode", "data"), DECODERS)
def test_short_or_foreign_bytes_are_named_so(decode: Decode, data: bytes) -> None:
    decode(data)
    foreign = [b"", data[:7], data[:8], data[:-1], bytes(8) + data[8:], bytes([data[0] ^ 1]) + data[1:]]
    for other in [*foreign, *(raw for _, raw in DECODERS if raw is not data)]:
        with pytest.raises(MalformedAccount):
            decode(other)


@pytest.mark.parametrize(
    ("decode", "data", "at"), [(cpmm.decode_state, cpmm_state(), 389), (dlmm.decode_pair, PAIR.lb_pair, 36)]
)
def test_a_fee_mode_of_a_newer_program_is_not_guessed(decode: Decode, data: bytes, at: int) -> None:
    with pytest.raises(MalformedAccount):
        decode(data[:at] + b"\x09" + data[at + 1 :])


def test_a_pair_without_a_bin_step_is_malformed() -> None:
    with pytest.raises(MalformedAccount):
        dlmm.decode_pair(PAIR.lb_pair[:80] + bytes(2) + PAIR.lb_pair[82:])


@given(st.sampled_from(DECODERS), st.binary(max_size=1_000), st.integers(0, 640))
def test_garbled_bytes_are_read_or_named_malformed_and_nothing_else(
    decoder: tuple[Decode, bytes], garbage: bytes, at: int
) -> None:
    decode, data = decoder
    try:
        decode(data[:at] + garbage + data[at + len(garbage) :])
    except MalformedAccount:
        return
