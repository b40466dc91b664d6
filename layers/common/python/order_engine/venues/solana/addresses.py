"""Addresses on Solana: the programs that a swap calls, and the addresses derived from them.

An address is base58 text everywhere but inside a message. A derived address has no private key: it is the first hash
of its seeds that is not a point of the curve Ed25519 (solana.com/docs/core/pda).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from order_engine.domain import base58
from order_engine.domain.errors import MalformedAccount

ADDRESS_BYTES = 32

SYSTEM = "11111111111111111111111111111111"
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 - a program's address
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"  # noqa: S105 - a program's address
ASSOCIATED_TOKEN = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"  # noqa: S105 - a program's address
COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
CLOCK = "SysvarC1ock11111111111111111111111111111111"

CPMM = "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C"
CLMM = "CAMMCzo5YL8w4VFF8KVHrK22GGUsp5VTaW7grrKgrWqK"
AMM_V4 = "675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8"
DLMM = "LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo"
DAMM_V2 = "cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG"

_MARKER = b"ProgramDerivedAddress"
_MAX_SEEDS, _MAX_SEED_BYTES = 16, 32

# Ed25519 (RFC 8032, section 5.1): the field's prime and the curve's constant d.
_PRIME = 2**255 - 19
_D = -121665 * pow(121666, -1, _PRIME) % _PRIME
_SIGN_BIT = 1 << 255


@lru_cache(maxsize=4096)
def to_bytes(address: str) -> bytes:
    """The 32 bytes of an address.

    Raises:
        MalformedAccount: the text is not an address.
    """
    try:
        return base58.decode(address, ADDRESS_BYTES)
    except ValueError as error:
        raise MalformedAccount("This text is not an address.") from error


def from_bytes(raw: bytes) -> str:
    """The text of an address.

    Raises:
        MalformedAccount: not 32 bytes.
    """
    if len(raw) != ADDRESS_BYTES:
        raise MalformedAccount(f"An address has {ADDRESS_BYTES} bytes, not {len(raw)}.")
    return base58.encode(raw)


def on_curve(raw: bytes) -> bool:
    """Whether 32 bytes are a point of Ed25519, and so may have a private key.

    The decompression of RFC 8032, section 5.1.3, as far as the answer needs it: x^2 = (y^2 - 1) / (d y^2 + 1) must be
    a square. As in the runtime's own library, y may be above the prime, and the sign of x does not matter.
    """
    y = (int.from_bytes(raw, "little") & (_SIGN_BIT - 1)) % _PRIME
    square = y * y % _PRIME
    u, v = (square - 1) % _PRIME, (_D * square + 1) % _PRIME
    # Euler's criterion on u * v, which is a square if and only if u / v is; zero is one.
    return pow(u * v, (_PRIME - 1) // 2, _PRIME) in (0, 1)


@lru_cache(maxsize=4096)
def derive(program: str, *seeds: bytes) -> str:
    """The address that a program derives from seeds, under the highest bump that gives one.

    Raises:
        ValueError: more or longer seeds than the runtime takes.
    """
    return find(program, seeds)[0]


def find(program: str, seeds: Sequence[bytes]) -> tuple[str, int]:
    """A derived address and its bump.

    Raises:
        ValueError: more or longer seeds than the runtime takes, or no address (which has never been seen).
    """
    if len(seeds) >= _MAX_SEEDS or any(len(seed) > _MAX_SEED_BYTES for seed in seeds):
        raise ValueError(f"At most {_MAX_SEEDS - 1} seeds of at most {_MAX_SEED_BYTES} bytes.")
    start = hashlib.sha256(b"".join(seeds))
    end = to_bytes(program) + _MARKER
    for bump in range(255, -1, -1):
        digest = start.copy()
        digest.update(bytes((bump,)) + end)
        if not on_curve(digest.digest()):
            return base58.encode(digest.digest()), bump
    raise ValueError("No bump gives an address off the curve.")


def token_account(owner: str, mint: str, token_program: str = TOKEN) -> str:
    """The associated token account: where a wallet keeps a token."""
    return derive(ASSOCIATED_TOKEN, to_bytes(owner), to_bytes(token_program), to_bytes(mint))


def cpmm_authority() -> str:
    """The owner of all CPMM vaults."""
    return derive(CPMM, b"vault_and_lp_mint_auth_seed")


def amm_v4_authority() -> str:
    """The owner of all AMM v4 vaults."""
    return derive(AMM_V4, b"amm authority")


def dlmm_bin_array(pair: str, index: int) -> str:
    """The account of 70 bins of a DLMM pair. ``index`` is the first bin's id divided by 70."""
    return derive(DLMM, b"bin_array", to_bytes(pair), index.to_bytes(8, "little", signed=True))


def dlmm_bitmap_extension(pair: str) -> str:
    """Where a DLMM pair notes its bin arrays beyond index -512 to 511. Most pairs have none."""
    return derive(DLMM, b"bitmap", to_bytes(pair))


def clmm_tick_array(pool: str, start: int) -> str:
    """The account of 60 ticks of a CLMM pool that begins at tick ``start``. Raydium writes the tick big-endian."""
    return derive(CLMM, b"tick_array", to_bytes(pool), start.to_bytes(4, "big", signed=True))


def clmm_bitmap_extension(pool: str) -> str:
    """Where a CLMM pool notes its tick arrays far from the price. Every pool has one."""
    return derive(CLMM, b"pool_tick_array_bitmap_extension", to_bytes(pool))


def event_authority(program: str) -> str:
    """With which an Anchor program calls itself to write its events."""
    return derive(program, b"__event_authority")
