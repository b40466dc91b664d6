"""What tests say to the sample's queues and table."""

from __future__ import annotations

import asyncio
from typing import Any

from local.stack import Stack


def send(stack: Stack, *bodies: str, queue: str = "Work") -> None:
    client = stack.client("sqs")
    url = client.get_queue_url(QueueName=queue)["QueueUrl"]
    for start in range(0, len(bodies), 10):
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
        client.send_message_batch(QueueUrl=url, Entries=entries)


def left_in(stack: Stack, queue: str) -> int:
    """Messages of a queue, received ones included."""
    client = stack.client("sqs")
    url = client.get_queue_url(QueueName=queue)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(count) for count in counts.values())


async def receive(stack: Stack, queue: str, seconds: int = 10) -> list[dict[str, Any]]:
    client = stack.client("sqs")
    url = client.get_queue_url(QueueName=queue)["QueueUrl"]
    answer = await asyncio.to_thread(
        client.receive_message, QueueUrl=url, WaitTimeSeconds=seconds, MaxNumberOfMessages=10
    )
    found: list[dict[str, Any]] = answer.get("Messages", [])
    return found


def put(stack: Stack, number: int, key: str = "one", **flags: bool) -> None:
    item: dict[str, Any] = {"id": {"S": key}, "n": {"N": str(number)}}
    item |= {name: {"BOOL": value} for name, value in flags.items()}
    stack.client("dynamodb").put_item(TableName="Things", Item=item)
