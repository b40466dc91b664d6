"""Keys of a local stack: the demonstration's, so that a fresh one can be used at once, and those of benches and tests.

``DEMO_KEYS=alice:oek_…,bob:oek_…`` sets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from order_engine.aws.keys import DynamoKeys
from order_engine.domain.errors import InvalidInput
from order_engine.engine.accounts import KEY_PREFIX, ApiKey, new_key

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


def add_demo_keys(dynamodb: Any, keys: dict[str, str]) -> None:
    """Store the demonstration's keys."""
    now = int(time.time() * 1000)
    made = [new_key(user, now, name="demonstration", by="local", key=text)[1] for user, text in keys.items()]
    asyncio.run(store(dynamodb, *made))


async def store(dynamodb: Any, *keys: ApiKey) -> None:
    """Store the keys that are not there yet in the stack whose DynamoDB client is given."""
    (table,) = (name for name in dynamodb.list_tables()["TableNames"] if "keys" in name.lower())
    stored = DynamoKeys(dynamodb, table)
    for key in keys:
        with contextlib.suppress(InvalidInput):
            await stored.add_key(key)
