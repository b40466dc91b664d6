"""Where a caller's orders can be followed."""

from __future__ import annotations

from order_engine.compose import Engine
from order_engine.engine.accounts import TICKET_MS, Identity, Ticket, sign_ticket


async def socket_url(engine: Engine, caller: Identity, order_id: str | None) -> tuple[str, int]:
    """A WebSocket address with a ticket for one order (or all), and when the ticket ends in milliseconds."""
    # The ticket's end is rounded up, so that a replayed request within the same minute gets the same answer.
    now = engine.clock.now_ms()
    expires_at = (now // TICKET_MS + 2) * TICKET_MS
    if caller.expires_at is not None:
        expires_at = min(expires_at, caller.expires_at)
    secret = (await engine.stores.ticket_secrets.accepted())[0]
    ticket = Ticket(caller.user_id, order_id, expires_at, caller.key_id, caller.expires_at, caller.max_sockets)
    return f"{engine.settings.resources.websocket_url}?ticket={sign_ticket(ticket, secret)}", expires_at
