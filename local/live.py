"""The live market of the local stack: a node that is named, or one of our own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.threads import in_thread
from order_engine.clock import SystemClock
from order_engine.domain.amounts import format_amount
from order_engine.domain.tokens import SOL
from order_engine.settings import Settings, SettingsError

if TYPE_CHECKING:
    from order_engine.venues.solana.examine import Examined


class NotLive(Exception):
    """The live market cannot be run; says why and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class Live:
    """A market that has been looked at.

    Attributes:
        settings: environment for the functions.
        lines: what a person should know of it.
    """

    settings: Mapping[str, str]
    lines: tuple[str, ...]


@contextlib.asynccontextmanager
async def live(settings: Mapping[str, str]) -> AsyncIterator[Live]:
    """The market that the settings name; where they name no node, a chain of our own until the block ends.

    Raises:
        NotLive: something is wrong with the settings, the node or the wallet.
    """
    if settings.get("MARKET") != "solana":
        yield Live(settings, ())
        return
    async with contextlib.AsyncExitStack() as closing:
        given = dict(settings)
        own = None
        if not given.get("RPC_URL"):
            given |= await _own(closing)
            own = given["RPC_URL"]
        yield Live(given, _said(await _look(given), own))


async def _own(closing: contextlib.AsyncExitStack) -> dict[str, str]:
    from local.solana.genesis import ProgramsMissing, find_programs
    from local.solana.own import own_chain
    from local.solana.programs import FOLDER

    folder = os.environ.get("SOLANA_PROGRAMS", "")
    if not folder and FOLDER.is_dir():
        folder = str(FOLDER)
    try:
        programs = find_programs(folder)
    except ProgramsMissing as missing:
        raise NotLive(str(missing)) from None
    # Its start is a second of work, in a thread of its own.
    context = own_chain(programs)
    chain = await in_thread(context.__enter__)
    closing.push_async_callback(in_thread, context.__exit__, None, None, None)
    return dict(chain.settings)


async def _look(settings: Mapping[str, str]) -> Examined:
    from order_engine.venues.solana.examine import examine
    from order_engine.venues.solana.market import Solana

    try:
        read = Settings.load(settings)
        return await examine(Solana(read.solana, SystemClock(), lambda _: None))
    except SettingsError as error:
        raise NotLive(str(error)) from None


def _said(found: Examined, url: str | None) -> tuple[str, ...]:
    pools = f"{found.pools} pool{'s' if found.pools != 1 else ''}"
    holds = f"{format_amount(found.lamports, SOL)} SOL for fees"
    where = f"a Solana of our own at {url}, with the venues' real programs" if url else "the nodes of RPC_URL"
    left_out = [f"       left out: {each.address}: {each.reason}" for each in found.left_out]
    return (f"Chain: {where}, {pools}; wallet {found.wallet} with {holds}", *left_out)
