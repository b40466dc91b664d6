"""A routing decision as it is stored: nothing is lost, and nothing is written twice."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from order_engine.aws.codec import decode_event, encode_event
from order_engine.domain.order import Event, Routed, Status
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg, RouteKind
from order_engine.domain.tokens import SOL, USDC, USDT, Token
from order_engine.domain.venues import VENUES
from order_engine.venues.paper.tokens import TOKENS

# Another market's: one without a symbol, one whose symbol means something else in stored items, and a known mint under
# another name.
WIF = Token("$WIF", "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", 6)
NAMELESS = Token(None, "7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr", 0)
ANOTHER_BONK = Token("BONK", "BoNKmr1LdCS6jnWhBMVUqYkbJfyBbKNFY8qPsxHqHMCk", 9)
WRAPPED = Token("wUSDT", USDT.mint, 6)
CALLED = {token.mint: token for token in (*TOKENS, WIF, NAMELESS, ANOTHER_BONK, WRAPPED)}
KINDS: tuple[RouteKind, ...] = ("single", "path", "split")
MINTS = st.sampled_from(sorted(CALLED))
AMOUNTS = st.integers(1, 2**64 - 1)
POOLS = st.sampled_from(
    ["CuP99wJCzcApDiy1MnMf3jnwb8nT8h5JjjHN6BzCMkwH", "3WgEvEx2bvaNKAzSw6CjNSU4YyFMPbUe5kDbzgT5zeUw"]
)
BPS = st.integers(-10_000, 10_000).map(lambda number: Decimal(number).scaleb(-2))
LEGS = st.builds(Leg, st.sampled_from(VENUES), POOLS, MINTS, MINTS, AMOUNTS, AMOUNTS)


@st.composite
def _single(draw: st.DrawFn, mint_in: str, mint_out: str, amount_in: int) -> Candidate:
    leg = Leg(draw(st.sampled_from(VENUES)), draw(POOLS), mint_in, mint_out, amount_in, draw(AMOUNTS))
    return Candidate(leg.venue, "single", (leg,), leg.amount_out, draw(st.integers(-100, 2**64)), draw(BPS))


ANY = st.builds(
    Candidate,
    st.sampled_from([*VENUES, "+".join(VENUES)]),
    st.sampled_from(KINDS),
    st.lists(LEGS, min_size=1, max_size=4).map(tuple),
    AMOUNTS,
    st.integers(-100, 2**64),
    BPS,
)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    mint_in, mint_out = draw(st.permutations(sorted(CALLED)))[:2]
    candidates = st.one_of(ANY, _single(mint_in, mint_out, draw(AMOUNTS)))
    quotes = tuple(draw(st.lists(candidates, max_size=6)))
    chosen = draw(st.sampled_from([*quotes, draw(candidates)]))
    left_out = tuple(draw(st.lists(st.builds(LeftOut, st.sampled_from(VENUES), st.text(max_size=20)), max_size=2)))
    reason, gain, over_other, gap = draw(st.tuples(st.text(max_size=30), BPS, st.none() | BPS, st.none() | BPS))
    met = {mint for one in (*quotes, chosen) for leg in one.legs for mint in (leg.mint_in, leg.mint_out)}
    called = tuple(CALLED[mint] for mint in sorted(met))
    return Decision(chosen, quotes, left_out, reason, gain, over_other, 15_000, gap, called)


@settings(max_examples=150, deadline=None)
@given(decisions(), AMOUNTS)
def test_a_decision_reads_back_as_it_was(decision: Decision, min_out: int) -> None:
    event = Event(3, Status.BUILDING, 1_790_000_000_000, 1, Routed(decision, min_out))

    read = decode_event(3, encode_event(event))
    assert read == event
    assert isinstance(read.detail, Routed)
    assert set(read.detail.decision.tokens) == set(decision.tokens)


def test_a_decision_that_was_stored_without_a_gap_is_still_read() -> None:
    text = (
        '{"s":"building","t":1,"a":1,"p":[["raydium","pool"]],"w":["SOL","USDC",10],"q":[[0,20,19,"4.00"]],"c":0,'
        '"y":"Because.","i":"0.00","o":null,"f":15000,"m":18}'
    )

    detail = decode_event(3, text).detail

    assert isinstance(detail, Routed)
    assert detail.decision.optimality_gap_bps is None
    assert detail.decision.chosen.net_out == 19


def test_a_pool_is_named_once() -> None:
    leg = Leg("raydium", "3WgEvEx2bvaNKAzSw6CjNSU4YyFMPbUe5kDbzgT5zeUw", SOL.mint, USDC.mint, 10, 20)
    single = Candidate("raydium", "single", (leg,), 20, 19, Decimal("4.00"))
    half = Leg(leg.venue, leg.pool_id, SOL.mint, USDC.mint, 5, 10)
    split = Candidate("raydium", "split", (half, half), 20, 18, Decimal("4.00"))
    decision = Decision(single, (single, split), (), "Because.", Decimal("0.00"), None, 5000)

    text = encode_event(Event(3, Status.BUILDING, 0, 1, Routed(decision, 19)))

    assert text.count(leg.pool_id) == 1
    assert json.loads(text)["q"][0] == [0, 20, 19, "4.00"]


def test_a_token_that_is_written_out_is_so_once() -> None:
    """What 0.1.0 knows it still finds as it wrote it, and each other mint costs its length once."""
    legs = tuple(Leg("raydium", f"pool{n}", NAMELESS.mint, SOL.mint, 5, 10) for n in range(3))
    split = Candidate("raydium", "split", legs, 30, 29, Decimal("4.00"))
    decision = Decision(split, (split,), (), "Because.", Decimal("0.00"), None, 5000, None, (SOL, NAMELESS))

    text = encode_event(Event(3, Status.BUILDING, 0, 1, Routed(decision, 19)))

    assert text.count(NAMELESS.mint) == 1
    assert json.loads(text)["q"][0][5][0][:3] == [0, 0, "SOL"]
