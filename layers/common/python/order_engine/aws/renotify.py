"""Give records of the stream that were set aside to Notify again: those that it kept whole, as they came.

Such a record was neither pushed nor counted. What Lambda itself gave up on it only names, without the record: that
stays, and clients get what they missed with the next snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from order_engine.aws.clients import call
from order_engine.aws.receive import batches
from order_engine.aws.redrive import Redriven

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_HIDDEN_S = 120
_POLL_S = 2


class NotifyFailed(Exception):
    """The function could not be run, or failed; nothing was deleted."""


async def renotify(client: SQSClient, functions: Any, url: str, function: str, *, limit: int) -> Redriven:
    """Hand the records to the function, and delete those that it took.

    Never more than were there at the beginning: what the function still cannot read it sets aside once more.

    Args:
        functions: a client of Lambda.
        url: the queue of stream failures.

    Raises:
        NotifyFailed: the function itself failed.
    """
    answer = await call(client.get_queue_attributes, QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    limit = min(limit, int(answer["Attributes"]["ApproximateNumberOfMessages"]))
    done = Redriven()
    async for found in batches(client, url, hidden_s=_HIDDEN_S, poll_s=_POLL_S, limit=limit):
        whole = [(message, record) for message in found if (record := _record(message["Body"])) is not None]
        failed = await _notify(functions, function, [record for _, record in whole]) if whole else set()
        for message, record in whole:
            if record["dynamodb"]["SequenceNumber"] not in failed:
                await call(client.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        moved = sum(record["dynamodb"]["SequenceNumber"] not in failed for _, record in whole)
        done = Redriven(done.moved + moved, done.unreadable + len(found) - moved)
    return done


async def _notify(functions: Any, function: str, records: list[Mapping[str, Any]]) -> set[str]:
    """The sequence numbers of the records that the function did not take."""
    answer = await call(functions.invoke, FunctionName=function, Payload=json.dumps({"Records": records}).encode())
    said = answer["Payload"].read()
    if "FunctionError" in answer:
        raise NotifyFailed(f"{function} failed: {said[:500].decode(errors='replace')}")
    return {failed["itemIdentifier"] for failed in json.loads(said)["batchItemFailures"]}


def _record(body: str) -> Mapping[str, Any] | None:
    """A whole record of the stream; None for anything else."""
    try:
        record = json.loads(body)
        view = record["dynamodb"]
        if isinstance(view["SequenceNumber"], str) and isinstance(view["NewImage"], dict):
            known: Mapping[str, Any] = record
            return known
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None
