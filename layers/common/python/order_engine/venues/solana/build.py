"""From a route to the instructions of one transaction, all or nothing.

Each swap of the transaction has a fixed input and its own least output; there is no program that sees the whole. So the
least output of the order is given to the last swaps in parts that add up to it. And a swap out of an intermediate token
can only count on what the swaps into it are sure to give: its input is their least output. What arrives beyond that
stays in the wallet as the intermediate token. How much that may be is a tolerance of its own, much smaller than the
order's slippage: a larger one leaves more behind, a smaller one fails more often when the price moves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from order_engine.domain.amounts import slippage_min_out
from order_engine.domain.errors import BuildFailed, QuoteRefused, RouteTooLarge
from order_engine.domain.quote import Leg
from order_engine.venues.solana.instructions import create_token_account, memo
from order_engine.venues.solana.messages import ComputeBudget, Instruction, compile_message, fits
from order_engine.venues.solana.programs.program import LivePool, Trade

_NOTE = re.compile(r"order (\S{1,100}) attempt \d{1,6}")


@dataclass(frozen=True, slots=True)
class PlannedSwap:
    """One swap of a transaction.

    Attributes:
        leg: with the input that the transaction fixes, and what the pool quotes for it.
        min_out: below which the program refuses, and the whole transaction with it.
    """

    leg: Leg
    min_out: int


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """How a transaction fills an order.

    Attributes:
        mint_out: what the order buys.
        amount_out: base units that the order gets if the pools stay as they are.
        left_over: base units of intermediate tokens that then stay in the wallet, by mint.
    """

    swaps: tuple[PlannedSwap, ...]
    mint_out: str
    amount_out: int
    left_over: Mapping[str, int]


def plan_swaps(
    legs: Sequence[Leg], pools: Mapping[str, LivePool], mint_out: str, *, min_out: int, path_tolerance_bps: int
) -> SwapPlan:
    """Fix inputs and least outputs of a route's swaps.

    Args:
        legs: in the order of execution; swaps into a token come before those out of it.
        pools: as they were read, by id.
        min_out: the order's least output, base units of ``mint_out``.
        path_tolerance_bps: by how much a swap into an intermediate token may give less than its quote.

    Raises:
        BuildFailed: a pool is unknown, or the route cannot give the least output any more.
    """
    planned_in: dict[str, int] = {}
    for leg in legs:
        planned_in[leg.mint_in] = planned_in.get(leg.mint_in, 0) + leg.amount_in
    sure: dict[str, int] = {}
    expected: dict[str, int] = {}
    taken: dict[str, int] = {}
    swaps: list[PlannedSwap] = []
    last: list[int] = []
    for leg in legs:
        amount_in = leg.amount_in
        if leg.mint_in in sure:
            # Its planned share of what is sure to be there, rounded down.
            amount_in = sure[leg.mint_in] * leg.amount_in // planned_in[leg.mint_in]
            taken[leg.mint_in] = taken.get(leg.mint_in, 0) + amount_in
        amount_out = _quote(pools, leg, amount_in)
        fixed = replace(leg, amount_in=amount_in, amount_out=amount_out)
        if leg.mint_out == mint_out:
            last.append(len(swaps))
            swaps.append(PlannedSwap(fixed, 0))
            continue
        least = slippage_min_out(amount_out, path_tolerance_bps)
        sure[leg.mint_out] = sure.get(leg.mint_out, 0) + least
        expected[leg.mint_out] = expected.get(leg.mint_out, 0) + amount_out
        swaps.append(PlannedSwap(fixed, least))
    total = sum(swaps[place].leg.amount_out for place in last)
    if total < min_out:
        raise BuildFailed(f"The route gives {total} base units now, and at least {min_out} were asked for.")
    for place, least in zip(last, _shares(min_out, [swaps[place].leg.amount_out for place in last]), strict=True):
        swaps[place] = replace(swaps[place], min_out=least)
    left_over = {mint: expected[mint] - taken.get(mint, 0) for mint in expected}
    return SwapPlan(tuple(swaps), mint_out, total, left_over)


def _quote(pools: Mapping[str, LivePool], leg: Leg, amount_in: int) -> int:
    live = pools.get(leg.pool_id)
    if live is None:
        raise BuildFailed(f"The pool {leg.pool_id} has not been read.")
    try:
        return live.pool.quote(leg.mint_in, amount_in)
    except QuoteRefused as refused:
        raise BuildFailed(f"The pool {leg.pool_id} cannot fill its part any more: {refused.message}") from refused


def _shares(total: int, of: Sequence[int]) -> list[int]:
    """Parts that add up to a total, in proportion, none above its own number.

    Args:
        total: at most the sum of ``of``.
    """
    everything = sum(of)
    parts = [total * one // everything for one in of]
    missing = total - sum(parts)
    for place, one in enumerate(of):
        more = min(missing, one - parts[place])
        parts[place] += more
        missing -= more
    return parts


def instructions(plan: SwapPlan, pools: Mapping[str, LivePool], wallet: str, note: str) -> list[Instruction]:
    """The calls of a transaction: a note that makes it unlike all others, accounts for what is bought, the swaps.

    The account of what the order buys comes first among the accounts: so a transaction tells what it buys.

    Args:
        note: the order and its attempt. Equal messages have equal signatures: without it, two equal orders under one
            block hash would be one swap.
    """
    calls = [memo(note)]
    accounts: dict[str, Instruction] = {}
    for swap in plan.swaps:
        live = pools[swap.leg.pool_id]
        program = live.accounts.token_programs[live.accounts.mints.index(swap.leg.mint_out)]
        accounts.setdefault(swap.leg.mint_out, create_token_account(wallet, wallet, swap.leg.mint_out, program))
    calls += [accounts.pop(plan.mint_out), *accounts.values()]
    for swap in plan.swaps:
        trade = Trade(wallet, swap.leg.mint_in, swap.leg.amount_in, swap.min_out)
        calls.append(pools[swap.leg.pool_id].swap(trade))
    return calls


def message_of(calls: Sequence[Instruction], wallet: str, blockhash: str, budget: ComputeBudget) -> bytes:
    """The message of a transaction, in version 0 where it fits and else in version 1.

    Raises:
        RouteTooLarge: it fits into neither.
    """
    message = compile_message(0, wallet, calls, blockhash, budget)
    if fits(message):
        return message
    message = compile_message(1, wallet, calls, blockhash, budget)
    if not fits(message):
        raise RouteTooLarge(f"The route has {len(calls)} instructions, and does not fit into one transaction.")
    return message


def note_of(order_id: str, attempt: int) -> str:
    """What an order's transaction says of itself in the ledger."""
    return f"order {order_id} attempt {attempt}"


def order_of(note: str) -> str | None:
    """The order that a note names; None where somebody else wrote it."""
    found = _NOTE.fullmatch(note)
    return found[1] if found else None
