"""``order-engine users``: what is kept of a user, and erasing it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.queues import SetAside
from cli.terminal import OK, REFUSED, AsJson, Endpoint, Region, Stage, console, fail, run_operator, show_result

if TYPE_CHECKING:
    from cli.operate import Place
    from order_engine.aws.erase import Erased

app = typer.Typer(help="Erase what is kept of a user (needs AWS credentials).", no_args_is_help=True)

_SHOWN = 5


# A group of one command: another will come.
@app.callback()
def users() -> None:
    """Erase what is kept of a user (needs AWS credentials)."""


@app.command("erase")
def erase_user(
    user: Annotated[str, typer.Argument(help="Whose data.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    stage: Stage = None,
    endpoint: Endpoint = None,
    region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Erase a user's orders, keys, sockets, rates, statistics and messages that were set aside. There is no way back.

    Refused while an order of theirs is under way. Stopped half-way, run it again: it goes on with what is left.
    """

    def run(place: Place) -> int:
        from order_engine.aws.connections import DynamoConnections
        from order_engine.aws.erase import Erase, Tables, erase_messages
        from order_engine.aws.keys import DynamoKeys

        tables = Tables(place.table("Orders"), place.table("Connections"), place.table("Accounts"), place.table("Keys"))
        client = place.client("dynamodb")
        erase = Erase(client, tables, user)
        under_way = asyncio.run(erase.under_way())
        if under_way:
            some = ", ".join(ref.order_id for ref in under_way[:_SHOWN]) + (", …" if len(under_way) > _SHOWN else "")
            detail = (
                f"{len(under_way)} orders of this user are under way ({some}). "
                "Cancel them with a key of the user, or wait until they have ended."
            )
            fail(REFUSED, "orders_under_way", detail, as_json=as_json)
        if not yes:
            typer.confirm(f"Erase all that is kept of {user}, for good?", abort=True, err=True)
        now = int(time.time() * 1000)
        keys = DynamoKeys(client, tables.keys, former_table=tables.accounts)
        asyncio.run(keys.adopt())
        own, operator = asyncio.run(keys.list_keys(user)), place.operator()
        connections = DynamoConnections(client, tables.connections)
        for key in own:
            # First, so that nothing new comes.
            asyncio.run(keys.revoke_key(key.key_id, now, operator))
            asyncio.run(connections.revoke(user, key.key_id, now, expires_at=now + 3 * 3_600_000))
        place.close_sockets(asyncio.run(erase.sockets()))
        hashes, ids = [key.key_hash for key in own], [key.key_id for key in own]
        done = asyncio.run(erase.run(hashes, ids, lambda erased: _progress(erased, as_json=as_json)))
        sqs = place.client("sqs")
        messages = sum(asyncio.run(erase_messages(sqs, place.queue(kind.queue), user)) for kind in SetAside)
        document = {**asdict(done), "messages": messages}
        text = (
            f"Erased of {escape(user)}: {done.orders:,} orders, {done.sockets:,} sockets and their marks, "
            f"{done.keys:,} keys, {done.account:,} items of rates and statistics, {messages:,} messages."
        )
        if done.left:
            text += f"\n{done.left:,} orders came meanwhile and are under way: run it again once they have ended."
        else:
            text += "\nAn answer of the authorizer may still be good for a minute: run it again then."
        show_result(document, text, as_json=as_json)
        return REFUSED if done.left else OK

    run_operator(run, stage, endpoint, region, as_json=as_json)


def _progress(erased: Erased, *, as_json: bool) -> None:
    if not as_json and erased.orders and erased.orders % 1000 == 0:
        console.print(f"{erased.orders:,} orders …")
