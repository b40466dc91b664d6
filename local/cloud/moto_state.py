"""What moto keeps: looked into where it has no public way, put right where AWS differs, and brought back as it was."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import StreamShard
from moto.dynamodbstreams.models import ShardIterator
from moto.secretsmanager.models import secretsmanager_backends
from moto.sqs.models import Queue, sqs_backends

from local.cloud.account import ACCOUNT, REGION

MAX_WAIT_S = 20.0
_KEPT_ITERATORS = 1000


def queue_named(name: str) -> Queue | None:
    return sqs_backends[ACCOUNT][REGION].queues.get(name)


def dead_letter_count(queue: Queue | None) -> int:
    target = queue.dead_letter_queue if queue else None
    return len(target._messages) if target else 0  # noqa: SLF001 - moto has no public count


def until_visible(queue: Queue | None) -> float:
    """Seconds until the next hidden message of a queue can be received."""
    now = time.time() * 1000
    waits = [
        due - now
        for message in (queue._messages if queue else [])  # noqa: SLF001 - the public list omits hidden ones
        if (due := max(message.visible_at, message.delayed_until)) > now
    ]
    # moto compares with whole milliseconds and strictly.
    return min(waits, default=MAX_WAIT_S * 1000) / 1000 + 0.002


def shards() -> dict[str, StreamShard]:
    tables = dynamodb_backends[ACCOUNT][REGION].tables
    return {name: table.stream_shard for name, table in tables.items() if table.stream_shard is not None}


def stream_lengths() -> dict[str, int]:
    return {name: len(shard.items) for name, shard in shards().items()}


def tidy_streams(lengths: Mapping[str, int]) -> bool:
    """Make the records of one call what AWS would have written; whether any stream has grown."""
    grown = False
    for name, shard in shards().items():
        start = lengths.get(name, 0)
        if len(shard.items) > start:
            _tidy(shard, start)
            grown = grown or len(shard.items) > start
    return grown


def _tidy(shard: StreamShard, start: int) -> None:
    """Keep one record of a call for each item, the last, which has its images before and after; and none where they
    are the same."""
    fresh = shard.items[start:]
    del shard.items[start:]
    for record in {json.dumps(record.record["dynamodb"]["Keys"], sort_keys=True): record for record in fresh}.values():
        change = record.record["dynamodb"]
        if change.get("OldImage") != change.get("NewImage"):
            change["SequenceNumber"] = str(shard.starting_sequence_number + len(shard.items))
            shard.items.append(record)


def forget_iterators(iterators: dict[str, ShardIterator]) -> None:
    """moto keeps every shard iterator for ever; AWS's live five minutes."""
    while len(iterators) > _KEPT_ITERATORS:
        del iterators[next(iter(iterators))]


def plain(value: object) -> str | float:
    """JSON of what moto keeps in a stream record besides text: times, in UTC without saying so, and bytes."""
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=dt.UTC).timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} in a stream record")


def remembered() -> Callable[[], None]:
    """Copy all tables, queues and secrets; what comes back puts such copies in the place of those that are there."""
    # A lock cannot be copied, and need not be.
    locks = {id(lock): lock for queue in sqs_backends[ACCOUNT][REGION].queues.values() for lock in [_lock_of(queue)]}
    kept = {what: copy.deepcopy(getattr(backend(), what), {**locks}) for what, backend in _HOLDERS.items()}

    def restore() -> None:
        for what, backend in _HOLDERS.items():
            setattr(backend(), what, copy.deepcopy(kept[what], {**locks}))

    return restore


def _lock_of(queue: Queue) -> object:
    return queue._messages_lock  # noqa: SLF001 - moto has no public way


_HOLDERS: Mapping[str, Callable[[], Any]] = {
    "tables": lambda: dynamodb_backends[ACCOUNT][REGION],
    "queues": lambda: sqs_backends[ACCOUNT][REGION],
    "secrets": lambda: secretsmanager_backends[ACCOUNT][REGION],
}


def fill(table: str, items: Iterable[dict[str, Any]]) -> None:
    """Put items into a table past its API and its stream, which would take minutes for very many."""
    target = dynamodb_backends[ACCOUNT][REGION].tables[table]
    shard, target.stream_shard = target.stream_shard, None
    try:
        for item in items:
            target.put_item(item, overwrite=True)
    finally:
        target.stream_shard = shard
