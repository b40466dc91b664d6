"""Save the venues' programs from a Solana node: they are public, but not this project's to pass on.

    python -m local.solana.programs --rpc-url https://…

A program's account names the account with its code (the upgradeable loader's layout:
docs.rs/solana-loader-v3-interface). The code is kept as it is on the chain; its hash is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from pathlib import Path

from local.solana.genesis import PROGRAM_FILES
from order_engine.domain.errors import MalformedAccount
from order_engine.settings import SettingsError
from order_engine.venues.solana.accounts import View
from order_engine.venues.solana.addresses import from_bytes
from order_engine.venues.solana.node import Node
from order_engine.venues.solana.rpc import JsonRpc, NodeRefused, NodeUnavailable, check_urls

LOADER = "BPFLoaderUpgradeab1e11111111111111111111111"
FOLDER = Path("build/programs")
_PROGRAM, _PROGRAM_DATA = 2, 3
# The kind, the slot of the last deployment, and the authority that may upgrade it, come before the code.
_CODE_AT = 45
_ELF = b"\x7fELF"
# A program has up to ten million bytes, a third more as text.
_TIMEOUT_MS = 120_000


async def code_of(node: Node, address: str) -> bytes:
    """The code of a program.

    Raises:
        MalformedAccount: there is no upgradeable program at the address.
        NodeUnavailable, NodeRefused: the node gave no answer.
    """
    _, accounts = await node.accounts([address])
    program = View(accounts).of(address, LOADER, "program")
    if len(program) < 36 or int.from_bytes(program[:4], "little") != _PROGRAM:
        raise MalformedAccount(f"The account {address} is no program.")
    at = from_bytes(program[4:36])
    _, accounts = await node.accounts([at])
    data = View(accounts).of(at, LOADER, "program's code")
    code = data[_CODE_AT:]
    if int.from_bytes(data[:4], "little") != _PROGRAM_DATA or not code.startswith(_ELF):
        raise MalformedAccount(f"The account {at} holds no code.")
    # The account may be larger than its code; zeros behind it do no harm, and some of them may belong to it.
    return code


def save_all(node: Node, folder: Path) -> None:
    """Save every program that is not in the folder yet, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, address in PROGRAM_FILES.items():
        target = folder / name
        if target.is_file():
            print(f"{target}: already there")
            continue
        code = asyncio.run(code_of(node, address))
        partial = target.with_suffix(".part")
        partial.write_bytes(code)
        partial.replace(target)
        digest = hashlib.sha256(code).hexdigest()
        print(f"{target}: {len(code):,} bytes of {address}, sha256 {digest}")


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="local.solana.programs", description=__doc__.splitlines()[0])
    parser.add_argument("--rpc-url", required=True, help="address of a Solana node (several: separated by commas)")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder to save to ({FOLDER})")
    given = parser.parse_args(arguments)
    try:
        node = Node(JsonRpc(check_urls(given.rpc_url, "--rpc-url"), timeout_ms=_TIMEOUT_MS))
        save_all(node, given.out)
    except (SettingsError, MalformedAccount, NodeUnavailable, NodeRefused, OSError) as error:
        print(f"The programs were not saved: {error}", file=sys.stderr)
        return 1
    print(f"Now: export SOLANA_PROGRAMS={given.out.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
