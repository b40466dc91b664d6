"""Demonstration keys, so that a fresh stack can be used at once. Only the local runner makes them.

``DEMO_KEYS=alice:oek_…,bob:oek_…`` sets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import boto3

from order_engine.aws.accounts import DynamoAccounts
from order_engine.domain.errors import InvalidInput
from order_engine.engine.accounts import KEY_PREFIX, new_key

DEFAULT = f"alice:{KEY_PREFIX}alice,bob:{KEY_PREFIX}bob"


class DemoKeysError(ValueError):
    """DEMO_KEYS cannot be read."""


def demo_keys(text: str) -> dict[str, str]:
    """Users and their keys, as ``DEMO_KEYS`` gives them.

    Raises:
        DemoKeysError: it is not a list of user:key, or a key does not begin as keys do.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        user, mark, key = part.strip().partition(":")
        if not user or not mark or not key.startswith(KEY_PREFIX):
            raise DemoKeysError(f"DEMO_KEYS is a list such as {DEFAULT}; each key begins with {KEY_PREFIX}.")
        found[user] = key
    return found


def add_demo_keys(session: boto3.Session, accounts_table: str, keys: dict[str, str]) -> None:
    """Store the keys that are not there yet."""
    accounts = DynamoAccounts(session.client("dynamodb"), accounts_table)
    now = int(time.time() * 1000)

    async def add_all() -> None:
        for user, text in keys.items():
            with contextlib.suppress(InvalidInput):
                await accounts.add_key(new_key(user, now, name="demonstration", key=text)[1])

    asyncio.run(add_all())
