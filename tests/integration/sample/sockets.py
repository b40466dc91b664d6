"""Sockets of the sample's WebSocket API."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from local.stack import Stack


def socket(stack: Stack, user: str = "ann", **arguments: Any) -> connect:
    return connect(f"{stack.ws_url}/live?user={user}", proxy=None, **arguments)


async def ask(client: ClientConnection, message: str = "{}") -> dict[str, Any]:
    """Send a message and return the event that the function posted back."""
    await client.send(message)
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(client.recv(), 30))
    return answer
