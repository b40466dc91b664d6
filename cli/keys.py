"""``order-engine keys``: who may use a deployment, straight on its tables with an operator's credentials."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from cli import numerals
from cli.terminal import OK, AsJson, Endpoint, Region, Stage, duration, errors, run_operator, show_result

if TYPE_CHECKING:
    from cli.operate import Place
    from order_engine.aws.keys import DynamoKeys, DynamoKeyUse
    from order_engine.engine.accounts import ApiKey

app = typer.Typer(help="Create, list and revoke API keys (needs AWS credentials).", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _Stores:
    """What a deployment knows of its keys."""

    keys: DynamoKeys
    use: DynamoKeyUse


def _open(place: Place) -> _Stores:
    """The deployment's keys, with those of version 0.1 moved to where keys are now."""
    from order_engine.aws.keys import DynamoKeys, DynamoKeyUse

    table, accounts = place.table("Keys"), place.table("Accounts")
    client = place.client("dynamodb")
    keys = DynamoKeys(client, table, former_table=accounts)
    for key in asyncio.run(keys.adopt()):
        errors.print(f"Moved to the table of keys: {key.key_id} of {escape(key.user_id)}.")
    return _Stores(keys, DynamoKeyUse(client, accounts))


@app.command("create")
def create_key(
    user: Annotated[str, typer.Argument(help="Whose orders the key can place and see.", show_default=False)],
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="trade or read; may be repeated. Both if absent.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "",
    expires_in: Annotated[str | None, typer.Option("--expires-in", metavar="DURATION", help="Such as 90d.")] = None,
    per_minute: Annotated[
        int | None,
        typer.Option(
            "--orders-per-minute",
            parser=numerals.whole(1, 60_000),
            metavar="NUMBER",
            help="Instead of the default limit, 1 to 60,000.",
        ),
    ] = None,
    max_sockets: Annotated[
        int | None,
        typer.Option(
            "--max-sockets",
            parser=numerals.whole(1, 1000),
            metavar="NUMBER",
            help="Open sockets, instead of the default limit, 1 to 1,000.",
        ),
    ] = None,
    max_open_orders: Annotated[
        int | None,
        typer.Option(
            "--max-open-orders",
            parser=numerals.whole(1, 10_000),
            metavar="NUMBER",
            help="Limit orders that have not ended, instead of the default limit, 1 to 10,000.",
        ),
    ] = None,
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key. It is shown once and stored as a hash only."""
    from order_engine.engine.accounts import SCOPES, new_key

    now = int(time.time() * 1000)
    expires_at = None if expires_in is None else now + int(duration(expires_in).total_seconds() * 1000)

    def run(place: Place) -> int:
        stores = _open(place)
        text, stored = new_key(
            user,
            now,
            scopes=scopes or SCOPES,
            name=name,
            expires_at=expires_at,
            orders_per_minute=per_minute,
            max_sockets=max_sockets,
            max_open_orders=max_open_orders,
            by=place.operator(),
        )
        asyncio.run(stores.keys.add_key(stored))
        document = {"key": text, "keyId": stored.key_id, "userId": user, "scopes": sorted(stored.scopes)}
        if not as_json:
            errors.print(f"Key {stored.key_id} of {escape(user)}. It is not shown again:")
        show_result(document, text, as_json=as_json)
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


@app.command("list")
def list_keys(
    user: Annotated[str | None, typer.Option("--user", help="Only this user's keys.")] = None,
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """List API keys: who made or revoked them, and when they were last used. The keys themselves are stored nowhere."""

    def run(place: Place) -> int:
        from cli.tables import Column, Records

        stores, now = _open(place), int(time.time() * 1000)
        found = asyncio.run(stores.keys.list_keys(user))
        used = asyncio.run(stores.use.last_used([key.key_id for key in found]))
        documents = [_document(key, used.get(key.key_id), now) for key in found]
        columns = (
            Column("Key"),
            Column("User", fold=True, least=12),
            Column("State"),
            Column("Scopes", 1),
            Column("Expires", 2),
            Column("Last used", 3),
            Column("Name", 4, fold=True, least=12),
            Column("Created", 5),
            Column("By", 6, fold=True, least=12),
        )
        rows = [
            {
                "Key": key["keyId"],
                "User": key["userId"],
                "State": key["state"],
                "Scopes": " ".join(key["scopes"]),
                "Expires": (key["expiresAt"] or "-")[:10],
                # Known to the hour.
                "Last used": f"{key['lastUsedAt'][:13].replace('T', ' ')}h" if key["lastUsedAt"] else "-",
                "Name": key["name"],
                "Created": key["createdAt"][:10],
                "By": key["createdBy"] or "-",
            }
            for key in documents
        ]
        shown = Records(columns, rows) if rows else "There are no keys."
        show_result(documents, shown, as_json=as_json)
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


def _document(key: ApiKey, used_at: int | None, now: int) -> dict[str, Any]:
    from order_engine.wire.times import to_text

    def moment(at: int | None) -> str | None:
        return None if at is None else to_text(at)

    return {
        "keyId": key.key_id,
        "userId": key.user_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "state": "revoked" if key.revoked_at is not None else "valid" if key.valid(now) else "expired",
        "createdAt": moment(key.created_at),
        "createdBy": key.created_by or None,
        "expiresAt": moment(key.expires_at),
        "revokedAt": moment(key.revoked_at),
        "revokedBy": key.revoked_by or None,
        "lastUsedAt": moment(used_at),
        "ordersPerMinute": key.orders_per_minute,
        "maxSockets": key.max_sockets,
        "maxOpenOrders": key.max_open_orders,
    }


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As keys list shows it.", show_default=False)],
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key. It is refused within a minute and for good; its open sockets are sent no more, and closed."""

    def run(place: Place) -> int:
        from cli.operate import NotFound
        from order_engine.aws.connections import DynamoConnections
        from order_engine.engine.sockets import KEPT_MS

        stores, now = _open(place), int(time.time() * 1000)
        connections = DynamoConnections(place.client("dynamodb"), place.table("Connections"))
        key = asyncio.run(stores.keys.revoke_key(key_id, now, place.operator()))
        if key is None:
            raise NotFound(f"There is no key {key_id}.")
        ended = asyncio.run(connections.revoke(key.user_id, key_id, now, expires_at=now + KEPT_MS))
        closed = place.close_sockets([socket.connection_id for socket in ended])
        document: dict[str, Any] = {"keyId": key.key_id, "userId": key.user_id, "state": "revoked"}
        document |= {"sockets": len(ended), "socketsClosed": closed}
        text = f"{key_id}  revoked"
        if ended:
            text += f", {closed} of its {len(ended)} sockets closed"
        if closed < len(ended):
            text += "; the others are closed within a minute"
        show_result(document, text, as_json=as_json)
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)
