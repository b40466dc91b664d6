"""Routing decisions as parts of stored events."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from order_engine.aws import tokens
from order_engine.domain.numerals import read_decimal
from order_engine.domain.quote import Candidate, Decision, LeftOut, Leg
from order_engine.domain.tokens import Token


def encode_decision(decision: Decision) -> dict[str, object]:
    """A decision without repetitions: the item's size is what each later write of the order costs.

    Pools are written once ("p") and named by their place. Most candidates send the whole order ("w": tokens and
    amount) through one pool, which leaves four numbers of them. Tokens that have to be written out are so once ("n"),
    and named by their place likewise.
    """
    candidates = (*decision.quotes, decision.chosen)
    pools = list(dict.fromkeys((leg.venue, leg.pool_id) for candidate in candidates for leg in candidate.legs))
    place = {pool: number for number, pool in enumerate(pools)}
    called = {token.mint: token for token in decision.tokens}
    out = [
        called[mint]
        for mint in dict.fromkeys(
            mint for candidate in candidates for leg in candidate.legs for mint in (leg.mint_in, leg.mint_out)
        )
        if _is_written_out(mint, called)
    ]
    token_at = {token.mint: number for number, token in enumerate(out)}
    singles = [candidate.legs[0] for candidate in candidates if len(candidate.legs) == 1]
    whole = (singles[0].mint_in, singles[0].mint_out, singles[0].amount_in) if singles else None

    def encode(candidate: Candidate) -> list[object]:
        amount_out, net_out, impact = candidate.amount_out, candidate.net_out, str(candidate.price_impact_bps)
        first = candidate.legs[0]
        if candidate == _whole(whole, first.venue, first.pool_id, amount_out, net_out, impact):
            return [place[first.venue, first.pool_id], amount_out, net_out, impact]
        legs = [encode_leg(leg) for leg in candidate.legs]
        return [candidate.venue, candidate.kind, amount_out, net_out, impact, legs]

    def encode_leg(leg: Leg) -> list[object]:
        pool = place[leg.venue, leg.pool_id]
        return [pool, encode_mint(leg.mint_in), encode_mint(leg.mint_out), leg.amount_in, leg.amount_out]

    def encode_mint(mint: str) -> object:
        return token_at[mint] if mint in token_at else tokens.encode(tokens.BY_MINT[mint])

    # The chosen candidate is nearly always among the quotes: its place is enough.
    quotes = list(decision.quotes)
    other = decision.improvement_over_other_bps
    return {
        "p": pools,
        **({"n": [tokens.encode(token) for token in out]} if out else {}),
        "w": None if whole is None else [encode_mint(whole[0]), encode_mint(whole[1]), whole[2]],
        "q": [encode(quote) for quote in quotes],
        "c": quotes.index(decision.chosen) if decision.chosen in quotes else encode(decision.chosen),
        **({"x": [[left.venue, left.reason] for left in decision.left_out]} if decision.left_out else {}),
        "y": decision.reason,
        "i": str(decision.improvement_bps),
        "o": None if other is None else str(other),
        "f": decision.network_fee_lamports,
        **({} if decision.optimality_gap_bps is None else {"g": str(decision.optimality_gap_bps)}),
    }


def _is_written_out(mint: str, called: Mapping[str, Token]) -> bool:
    known = tokens.BY_MINT.get(mint)
    return known is None or called.get(mint, known) != known


def _whole(
    whole: tuple[str, str, int] | None, venue: str, pool_id: str, amount_out: int, net_out: int, impact: str
) -> Candidate | None:
    """The candidate that sends everything through one pool; ``whole`` is mint in, mint out and amount."""
    if whole is None:
        return None
    leg = Leg(venue, pool_id, *whole, amount_out)
    return Candidate(venue, "single", (leg,), amount_out, net_out, read_decimal(impact))


def decode_decision(value: Mapping[str, Any]) -> Decision:
    pools = value["p"]
    out = [tokens.decode(written) for written in value.get("n", ())]
    met: dict[str, Token] = {}

    def mint_of(written: str | int) -> str:
        token = out[written] if isinstance(written, int) else tokens.decode(written)
        met[token.mint] = token
        return token.mint

    whole = None if value["w"] is None else (mint_of(value["w"][0]), mint_of(value["w"][1]), value["w"][2])

    def decode(candidate: list[Any]) -> Candidate:
        if isinstance(candidate[0], int):
            number, *numbers = candidate
            venue, pool_id = pools[number]
            single = _whole(whole, venue, pool_id, *numbers)
            if single is None:
                raise ValueError("a quote for the whole order, which is not there")
            return single
        venue, kind, amount_out, net_out, impact, legs = candidate
        return Candidate(
            venue=venue,
            kind=kind,
            legs=tuple(decode_leg(*leg) for leg in legs),
            amount_out=amount_out,
            net_out=net_out,
            price_impact_bps=read_decimal(impact),
        )

    def decode_leg(number: int, token_in: str | int, token_out: str | int, amount_in: int, amount_out: int) -> Leg:
        venue, pool_id = pools[number]
        return Leg(venue, pool_id, mint_of(token_in), mint_of(token_out), amount_in, amount_out)

    quotes = tuple(map(decode, value["q"]))
    chosen = quotes[value["c"]] if isinstance(value["c"], int) else decode(value["c"])
    return Decision(
        chosen=chosen,
        quotes=quotes,
        left_out=tuple(LeftOut(*left) for left in value.get("x", ())),
        reason=value["y"],
        improvement_bps=read_decimal(value["i"]),
        improvement_over_other_bps=None if value["o"] is None else read_decimal(value["o"]),
        network_fee_lamports=value["f"],
        # Decisions that were stored before the gap was known have none.
        optimality_gap_bps=Decimal(value["g"]) if "g" in value else None,
        tokens=tuple(met.values()),
    )
