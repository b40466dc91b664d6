"""Records of the stream that were set aside are pushed and counted once they can be read, and lost by nobody."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from local.cloud import events
from order_engine.aws.redrive import Redriven
from order_engine.aws.renotify import NotifyFailed, renotify

URL = "https://queue/stream-failures"


def whole(number: int) -> str:
    return json.dumps(events.change(number, {"user_id": {"S": "u"}}))


# What Lambda tells of records that it gave up on: where they are, and not what they are.
NAMED = json.dumps({"requestContext": {}, "DDBStreamBatchInfo": {"shardId": "s", "startSequenceNumber": "1"}})


@dataclass
class Services:
    """The queue, and a Notify that takes what is not in ``refuses`` and sets aside again what is in ``unread``."""

    bodies: list[str]
    refuses: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)
    breaks: bool = False
    hidden: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    receives: int = 0

    def get_queue_attributes(self, **call: Any) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self.bodies))}}

    def receive_message(self, **call: Any) -> Any:
        assert call["QueueUrl"] == URL
        number = call["MaxNumberOfMessages"]
        found, self.bodies = self.bodies[:number], self.bodies[number:]
        messages = []
        for body in found:
            self.receives += 1
            handle = f"r{self.receives}"
            self.hidden[handle] = body
            messages.append({"Body": body, "ReceiptHandle": handle})
        return {"Messages": messages} if messages else {}

    def delete_message(self, **call: Any) -> None:
        del self.hidden[call["ReceiptHandle"]]

    def invoke(self, **call: Any) -> Any:
        assert call["FunctionName"] == "notify"
        if self.breaks:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "no memory"}')}
        failed = []
        for record in json.loads(call["Payload"])["Records"]:
            number = record["dynamodb"]["SequenceNumber"]
            if number in self.refuses:
                failed.append({"itemIdentifier": number})
            elif number in self.unread:
                self.bodies.append(json.dumps(record))
            else:
                self.taken.append(number)
        return {"Payload": io.BytesIO(json.dumps({"batchItemFailures": failed}).encode())}


async def again(services: Services, limit: int = 1000) -> Redriven:
    client: Any = services
    return await renotify(client, services, URL, "notify", limit=limit)


async def test_whole_records_are_pushed_once_and_the_rest_stays() -> None:
    services = Services([whole(1), NAMED, "not json", "[]", *map(whole, range(2, 30))])
    assert await again(services) == Redriven(29, 3)
    assert services.taken == [str(number) for number in range(1, 30)]
    assert sorted(services.hidden.values()) == sorted([NAMED, "not json", "[]"])


async def test_a_record_that_notify_does_not_take_stays() -> None:
    services = Services([whole(1), whole(2)], refuses={"2"})
    assert await again(services) == Redriven(1, 1)
    assert list(services.hidden.values()) == [whole(2)]


async def test_what_is_set_aside_once_more_is_not_tried_for_ever() -> None:
    services = Services([whole(1), whole(2)], unread={"1", "2"})
    assert await again(services) == Redriven(2, 0)
    assert [json.loads(body)["dynamodb"]["SequenceNumber"] for body in services.bodies] == ["1", "2"]


async def test_nothing_is_deleted_where_notify_fails() -> None:
    services = Services([whole(1)], breaks=True)
    with pytest.raises(NotifyFailed, match="no memory"):
        await again(services)
    assert list(services.hidden.values()) == [whole(1)]


async def test_no_more_are_taken_than_asked_for() -> None:
    services = Services([whole(number) for number in range(25)])
    assert await again(services, limit=12) == Redriven(12, 0)
    assert len(services.bodies) == 13
