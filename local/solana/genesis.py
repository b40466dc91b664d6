"""How the chain of our own begins: tokens, a pool of every kind, and a funded wallet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from local.solana.ledger import Chain
from local.solana.pools import Accounts, Coin, address_of, amm_v4, clmm, cpmm, damm_v2, dlmm, holding, mint
from order_engine.domain.tokens import BONK, JUP, SOL, USDC, USDT, Token
from order_engine.venues.solana import addresses

# Which file holds which program, as ``make programs`` saves them.
PROGRAM_FILES = {
    "raydium_cp_swap.so": addresses.CPMM,
    "raydium_clmm.so": addresses.CLMM,
    "raydium_amm_v4.so": addresses.AMM_V4,
    "meteora_dlmm.so": addresses.DLMM,
    "meteora_damm_v2.so": addresses.DAMM_V2,
}

# A token of Token-2022 that withholds a percent of each transfer.
TAXED = Coin(address_of("taxed token"), 6, transfer_fee_bps=100)


class ProgramsMissing(Exception):
    """The venues' programs are not where they should be."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A pool of the beginning: its address, its program's kind and its coins."""

    address: str
    kind: str
    coins: tuple[Coin, Coin]


def coin(token: Token) -> Coin:
    """A known token as this chain has it."""
    return Coin(token.mint, token.decimals)


def find_programs(folder: str) -> dict[str, Path]:
    """The programs' files by address.

    Raises:
        ProgramsMissing: no folder is given, or files are missing in it.
    """
    if not folder:
        raise ProgramsMissing(
            "SOLANA_PROGRAMS is not set. It names the folder with the venues' programs, which are not part of this "
            "project; `make programs RPC_URL=https://…` saves them from a Solana node into build/programs."
        )
    missing = [name for name in PROGRAM_FILES if not (Path(folder) / name).is_file()]
    if missing:
        raise ProgramsMissing(f"SOLANA_PROGRAMS={folder} lacks {', '.join(missing)} (see CONTRIBUTING.md).")
    return {address: Path(folder) / name for name, address in PROGRAM_FILES.items()}


def begin(chain: Chain, programs: dict[str, Path]) -> tuple[Listing, ...]:
    """Put programs, tokens and pools on a chain. Returns the pools."""
    for address, path in programs.items():
        chain.load_program(address, path)
    sol, usdc, usdt, bonk, jup = (coin(token) for token in (SOL, USDC, USDT, BONK, JUP))
    for each in (sol, usdc, usdt, bonk, jup, TAXED):
        _put(chain, {each.mint: mint(each)})
    listings: list[Listing] = []

    def add(kind: str, coins: tuple[Coin, Coin], made: tuple[str, Accounts]) -> None:
        address, accounts = made
        _put(chain, accounts)
        listings.append(Listing(address, kind, coins))

    def units(of: Coin, whole: int | str) -> int:
        return int(Decimal(whole).scaleb(of.decimals))

    pair = (sol, usdc)
    add("cpmm", pair, cpmm("SOL/USDC cpmm", pair, (units(sol, 20_000), units(usdc, 3_000_000))))
    add("clmm", pair, clmm("SOL/USDC clmm", pair, Decimal(150), units(sol, 500)))
    add("amm_v4", pair, amm_v4("SOL/USDC amm v4", pair, (units(sol, 10_000), units(usdc, 1_499_000))))
    add("dlmm", pair, dlmm("SOL/USDC dlmm", pair, Decimal("150.1"), units(sol, 40)))
    add("damm2", pair, damm_v2("SOL/USDC damm v2", pair, Decimal("149.9"), units(sol, 8_000)))
    pair = (usdc, bonk)
    add("cpmm", pair, cpmm("USDC/BONK cpmm", pair, (units(usdc, 400_000), units(bonk, 20_000_000_000))))
    add("dlmm", pair, dlmm("USDC/BONK dlmm", pair, Decimal(50_000), units(usdc, 500), step=20))
    pair = (jup, sol)
    add("amm_v4", pair, amm_v4("JUP/SOL amm v4", pair, (units(jup, 750_000), units(sol, 4_000))))
    add("clmm", pair, clmm("JUP/SOL clmm", pair, Decimal("0.005333"), units(jup, 20_000), spacing=60, fee=2500))
    pair = (usdc, usdt)
    add("damm2", pair, damm_v2("USDC/USDT damm v2", pair, Decimal(1), units(usdc, 5_000_000), fee=100_000))
    pair = (TAXED, usdc)
    add("cpmm", pair, cpmm("TAXED/USDC cpmm", pair, (units(TAXED, 1_000_000), units(usdc, 500_000))))
    return tuple(listings)


def fund(chain: Chain, wallet: str, coins: Sequence[tuple[Coin, int]], *, lamports: int) -> None:
    """Give a wallet SOL for fees, and tokens (base units) in its associated accounts, wrapped SOL among them."""
    chain.airdrop(wallet, lamports)
    for each, amount in coins:
        address = addresses.token_account(wallet, each.mint, each.program)
        written = holding(each, wallet, amount)
        if each.mint != SOL.mint:
            chain.put(address, written.owner, written.data)
            continue
        # A wrapped account holds its SOL as lamports beyond its rent, and says what its rent is.
        rent = chain.rent(len(written.data))
        native = (1).to_bytes(4, "little") + rent.to_bytes(8, "little")
        data = written.data[:109] + native + written.data[121:]
        chain.put(address, written.owner, data, rent + amount)


def _put(chain: Chain, accounts: Accounts) -> None:
    for name, written in accounts.items():
        chain.put(name, written.owner, written.data)
