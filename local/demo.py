"""A demonstration key, so that a fresh stack can be used at once. Only the local runner makes one."""

from __future__ import annotations

import asyncio
import contextlib
import time

import boto3
from order_engine.aws.accounts import DynamoAccounts
from order_engine.domain.errors import InvalidInput
from order_engine.engine.accounts import KEY_PREFIX, new_key

DEMO_USER = "demo"
DEMO_KEY = f"{KEY_PREFIX}demo"


def add_demo_key(session: boto3.Session, accounts_table: str) -> str:
    """Store the key of the user ``demo``, unless it is there, and return it."""
    key, stored = new_key(DEMO_USER, int(time.time() * 1000), name="demonstration", key=DEMO_KEY)
    with contextlib.suppress(InvalidInput):
        asyncio.run(DynamoAccounts(session.client("dynamodb"), accounts_table).add_key(stored))
    return key
