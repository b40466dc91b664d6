"""The commands for operators: API keys, and messages that were set aside."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from cli import numerals
from cli.terminal import OK, AsJson, Endpoint, Region, Stage, duration, errors, run_operator, show_result

if TYPE_CHECKING:
    from cli.operate import Place

app = typer.Typer()
keys = typer.Typer(help="Create, list and revoke API keys (needs AWS credentials).", no_args_is_help=True)
app.add_typer(keys, name="keys")

Table = Annotated[
    str | None,
    typer.Option("--table", envvar="ACCOUNTS_TABLE", help="The accounts table.", rich_help_panel="Deployment"),
]


@keys.command("create")
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
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key. It is shown once and stored as a hash only."""
    from order_engine.engine.accounts import SCOPES, new_key

    now = int(time.time() * 1000)
    expires_at = None if expires_in is None else now + int(duration(expires_in).total_seconds() * 1000)

    def run(place: Place) -> int:
        text, stored = new_key(
            user, now, scopes=scopes or SCOPES, name=name, expires_at=expires_at, orders_per_minute=per_minute
        )
        asyncio.run(_accounts(place, table).add_key(stored))
        document = {"key": text, "keyId": stored.key_id, "userId": user, "scopes": sorted(stored.scopes)}
        if not as_json:
            errors.print(f"Key {stored.key_id} of {escape(user)}. It is not shown again:")
        show_result(document, text, as_json=as_json)
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


@keys.command("list")
def list_keys(
    user: Annotated[str | None, typer.Option("--user", help="Only this user's keys.")] = None,
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """List API keys. The keys themselves are not stored anywhere."""

    def run(place: Place) -> int:
        from cli.tables import Column, Records
        from order_engine.engine.accounts import ApiKey
        from order_engine.wire.times import to_text

        now = int(time.time() * 1000)
        found = asyncio.run(_accounts(place, table).list_keys(user))

        def state(key: ApiKey) -> str:
            return "revoked" if key.revoked_at is not None else "valid" if key.valid(now) else "expired"

        documents = [
            {
                "keyId": key.key_id,
                "userId": key.user_id,
                "name": key.name,
                "scopes": sorted(key.scopes),
                "state": state(key),
                "createdAt": to_text(key.created_at),
                "expiresAt": None if key.expires_at is None else to_text(key.expires_at),
                "ordersPerMinute": key.orders_per_minute,
            }
            for key in found
        ]
        columns = (
            Column("Key"),
            Column("User", fold=True, least=12),
            Column("State"),
            Column("Scopes", 1),
            Column("Expires", 2),
            Column("Name", 3, fold=True, least=12),
            Column("Created", 4),
        )
        rows = [
            {
                "Key": str(key["keyId"]),
                "User": str(key["userId"]),
                "State": str(key["state"]),
                "Scopes": " ".join(key["scopes"]),
                "Expires": str(key["expiresAt"] or "-")[:10],
                "Name": str(key["name"]),
                "Created": str(key["createdAt"])[:10],
            }
            for key in documents
        ]
        shown = Records(columns, rows) if rows else "There are no keys."
        show_result(documents, shown, as_json=as_json)
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As keys list shows it.", show_default=False)],
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key. It is refused within a minute, and for good."""

    def run(place: Place) -> int:
        from cli.operate import NotFound

        key = asyncio.run(_accounts(place, table).revoke_key(key_id, int(time.time() * 1000)))
        if key is None:
            raise NotFound(f"There is no key {key_id}.")
        show_result(
            {"keyId": key.key_id, "userId": key.user_id, "state": "revoked"}, f"{key_id}  revoked", as_json=as_json
        )
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


class Source(StrEnum):
    """Where messages are set aside."""

    DEAD_LETTERS = "dead-letters"
    QUARANTINE = "quarantine"


# The stack's output, and a part of the local queue's name.
_QUEUES = {
    Source.DEAD_LETTERS: ("DeadLettersQueue", "deadletters"),
    Source.QUARANTINE: ("QuarantineQueue", "quarantine"),
}


@app.command()
def redrive(
    source: Annotated[Source, typer.Option("--from", help="Where to take messages from.")] = Source.DEAD_LETTERS,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            "-n",
            parser=numerals.whole(1, 1_000_000),
            metavar="NUMBER",
            help="At most so many, 1 to 1,000,000.",
        ),
    ] = 10_000,
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Give messages that were set aside to the order queue again. Safe at any time: no order is executed twice."""

    def run(place: Place) -> int:
        from order_engine.aws.redrive import redrive as move

        source_url = place.queue(*_QUEUES[source])
        orders_url = place.queue("OrdersQueue", "orders")
        done = asyncio.run(move(place.client("sqs"), source_url, orders_url, limit=limit))
        text = f"{done.moved:,} moved from {source} to the order queue."
        if done.unreadable:
            text += f" {done.unreadable:,} cannot be read and stay."
        show_result({"from": source, "moved": done.moved, "unreadable": done.unreadable}, text, as_json=as_json)
        return OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


def _accounts(place: Place, table: str | None) -> Any:
    from order_engine.aws.accounts import DynamoAccounts

    name = place.accounts_table(table)
    return DynamoAccounts(place.client("dynamodb"), name)
