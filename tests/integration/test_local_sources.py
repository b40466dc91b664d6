"""The local stack's event sources: queues, streams and schedules, with real messages and real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from local.cloud.template import TemplateError
from local.stack import Stack
from tests.integration.sample import template as sample
from tests.integration.sample.results import Results
from tests.integration.sample.services import left_in, put, receive, send

# --- queues ------------------------------------------------------------------------------------------------------


async def test_a_message_arrives_as_a_record() -> None:
    async with Stack(sample.template(sample.queues())) as stack:
        client = stack.client("sqs")
        url = client.get_queue_url(QueueName="Work")["QueueUrl"]
        attributes = {"reason": {"DataType": "String", "StringValue": "because"}}
        sent = client.send_message(QueueUrl=url, MessageBody="hello", MessageAttributes=attributes)
        [note] = await Results(stack).of("bodies", 1)
        [record] = note["event"]["Records"]
        assert record["messageId"] == sent["MessageId"]
        assert record["body"] == "hello"
        assert record["md5OfBody"] == sent["MD5OfMessageBody"]
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        assert abs(int(record["attributes"]["SentTimestamp"]) / 1000 - time.time()) < 5
        assert record["messageAttributes"]["reason"]["stringValue"] == "because"
        assert record["eventSource"] == "aws:sqs"
        assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:123456789012:Work"
        assert record["receiptHandle"]


async def test_a_message_is_delivered_within_milliseconds() -> None:
    async with Stack(sample.template(sample.queues())) as stack:
        results = Results(stack)
        waits = []
        for n in range(5):
            sent = time.time()
            send(stack, str(n))
            waits.append((await results.of("bodies", n + 1))[-1]["at"] - sent)
        # The quickest: this machine may be busy, and a poller that sleeps would be slow every time.
        assert min(waits) < 0.1


async def test_only_the_messages_that_failed_come_again() -> None:
    async with Stack(sample.template(sample.queues(receives=2))) as stack:
        results = Results(stack)
        send(stack, "a", "fail", "b")
        await results.until(lambda notes: sum(note["bodies"].count("fail") for note in notes) == 2)
        notes = await results.after(0.3)
        bodies = [body for note in notes for body in note["bodies"]]
        assert sorted(bodies) == ["a", "b", "fail", "fail"]
        counts = [
            record["attributes"]["ApproximateReceiveCount"]
            for note in notes
            for record in note["event"]["Records"]
            if record["body"] == "fail"
        ]
        assert counts == ["1", "2"]


async def test_a_batch_whose_invocation_fails_comes_again_after_its_visibility_timeout() -> None:
    async with Stack(sample.template(sample.queues(visibility_s=1, receives=2))) as stack:
        send(stack, "a", "crash")
        results = Results(stack)
        await results.until(lambda notes: sum(len(note["bodies"]) for note in notes) >= 4)
        # Not in the order in which they were made: the queue of notes promises none.
        first, *again = sorted(results.notes, key=lambda note: note["at"])
        assert sorted(first["bodies"]) == ["a", "crash"]
        # Each message has its own time, so that a slow machine may see one come before the other.
        assert sorted(body for note in again for body in note["bodies"]) == ["a", "crash"]
        assert min(note["at"] for note in again) - first["at"] > 0.9


async def test_a_message_that_keeps_failing_goes_to_the_dead_letters() -> None:
    async with Stack(sample.template(sample.queues(receives=2))) as stack:
        send(stack, "fail")
        [dead] = await receive(stack, "Dead")
        assert dead["Body"] == "fail"
        notes = await Results(stack).after(0.1)
        assert len(notes) == 2
        assert left_in(stack, "Work") == 0


async def test_an_unknown_identifier_fails_the_whole_batch() -> None:
    resources = sample.queues(receives=1)
    resources |= sample.function("Batch", "confused")
    async with Stack(sample.template(resources)) as stack:
        send(stack, "a")
        [dead] = await receive(stack, "Dead")
        assert dead["Body"] == "a"


async def test_batches_and_concurrency_keep_to_the_mapping() -> None:
    async with Stack(sample.template(sample.queues(visibility_s=30, concurrency=2))) as stack:
        send(stack, *["slow 0.4"] * 4)
        results = Results(stack)
        # Two invocations are busy now; what comes meanwhile waits and is taken together.
        await results.until(lambda notes: sum(len(note["bodies"]) for note in notes) == 4)
        started = time.time()
        send(stack, *(str(n) for n in range(25)))
        notes = await results.until(lambda notes: sum(len(note["bodies"]) for note in notes) == 29)
        assert max(len(note["bodies"]) for note in notes) <= 10
        assert max(note["at"] for note in notes) - started < 2


async def test_a_batching_window_gathers_messages() -> None:
    mapping = sample.queues(visibility_s=30, MaximumBatchingWindowInSeconds=1)
    async with Stack(sample.template(mapping)) as stack:
        for n in range(4):
            send(stack, str(n))
            await asyncio.sleep(0.1)
        [note] = await Results(stack).of("bodies", 1)
        assert sorted(note["bodies"]) == ["0", "1", "2", "3"]


# --- streams -----------------------------------------------------------------------------------------------------


def records_of(notes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for note in notes if "stream" in note for record in note["event"]["Records"]]


async def test_changes_arrive_in_order_as_records() -> None:
    async with Stack(sample.template(sample.streams())) as stack:
        put(stack, 1)
        put(stack, 2)
        put(stack, 2)  # changes nothing: the stream says nothing
        stack.client("dynamodb").delete_item(TableName="Things", Key={"id": {"S": "one"}})
        notes = await Results(stack).until(lambda found: len(records_of(found)) >= 3)
        inserted, modified, removed = records_of(notes)
        assert [record["eventName"] for record in (inserted, modified, removed)] == ["INSERT", "MODIFY", "REMOVE"]
        assert "OldImage" not in inserted["dynamodb"]
        assert modified["dynamodb"]["OldImage"] == {"id": {"S": "one"}, "n": {"N": "1"}}
        assert modified["dynamodb"]["NewImage"] == {"id": {"S": "one"}, "n": {"N": "2"}}
        assert removed["dynamodb"]["Keys"] == {"id": {"S": "one"}}
        assert "NewImage" not in removed["dynamodb"]
        numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in (inserted, modified, removed)]
        assert numbers == sorted(set(numbers))
        assert inserted["eventSource"] == "aws:dynamodb"
        assert ":table/Things/stream/" in inserted["eventSourceARN"]
        assert abs(inserted["dynamodb"]["ApproximateCreationDateTime"] - time.time()) < 5


async def test_an_update_that_creates_an_item_is_one_insertion() -> None:
    async with Stack(sample.template(sample.streams())) as stack:
        stack.client("dynamodb").update_item(
            TableName="Things",
            Key={"id": {"S": "new"}},
            UpdateExpression="SET n = :n",
            ExpressionAttributeValues={":n": {"N": "1"}},
        )
        put(stack, 9, "later")
        notes = await Results(stack).until(lambda found: len(records_of(found)) >= 2)
        first, second = records_of(notes)
        assert (first["eventName"], first["dynamodb"]["NewImage"]["n"]) == ("INSERT", {"N": "1"})
        assert second["dynamodb"]["NewImage"]["n"] == {"N": "9"}


async def test_a_filter_lets_only_some_records_through() -> None:
    pattern = '{"eventName": ["INSERT"], "dynamodb": {"NewImage": {"n": {"N": [{"anything-but": "2"}]}}}}'
    filters = {"Filters": [{"Pattern": pattern}]}
    async with Stack(sample.template(sample.streams(FilterCriteria=filters))) as stack:
        put(stack, 1, "a")
        put(stack, 3, "a")
        put(stack, 2, "b")
        put(stack, 4, "c")
        results = Results(stack)
        await results.until(lambda found: len(records_of(found)) >= 2)
        records = records_of(await results.after(0.3))
        assert [record["dynamodb"]["NewImage"]["n"]["N"] for record in records] == ["1", "4"]


async def test_a_reported_failure_is_tried_again_from_there_and_given_up() -> None:
    async with Stack(sample.template(sample.streams(MaximumBatchingWindowInSeconds=1))) as stack:
        put(stack, 1, "a")
        put(stack, 2, "b", fail=True)
        put(stack, 3, "c")
        results = Results(stack)
        await results.until(lambda notes: len(notes) >= 2)
        [failure] = await receive(stack, "Failures")
        seen = [note["stream"] for note in await results.after(0.2)]
        # One retry, from the failed record on; then the rest of the batch is given up.
        assert seen == [["1", "2", "3"], ["2", "3"]]
        assert '"RetryAttemptsExhausted"' in failure["Body"]
        assert '"batchSize": 2' in failure["Body"]
        put(stack, 4, "d")
        assert (await results.until(lambda notes: len(notes) >= 3))[-1]["stream"] == ["4"]


async def test_a_crash_halves_the_batch_until_the_culprit_is_alone() -> None:
    async with Stack(sample.template(sample.streams(MaximumBatchingWindowInSeconds=1))) as stack:
        for n in range(1, 5):
            put(stack, n, f"key {n}", **({"crash": True} if n == 3 else {}))
        results = Results(stack)
        [failure] = await receive(stack, "Failures", 15)
        notes = await results.until(lambda found: ["4"] in [note["stream"] for note in found])
        assert [note["stream"] for note in notes] == [["1", "2", "3", "4"], ["1", "2"], ["3", "4"], ["3"], ["3"], ["4"]]
        assert '"batchSize": 1' in failure["Body"]
        assert '"functionError": "Unhandled"' in failure["Body"]
        assert "shardId" in failure["Body"]


async def test_a_change_is_delivered_within_milliseconds() -> None:
    async with Stack(sample.template(sample.streams())) as stack:
        results = Results(stack)
        waits = []
        for n in range(5):
            sent = time.time()
            put(stack, n)
            waits.append((await results.of("stream", n + 1))[-1]["at"] - sent)
        assert min(waits) < 0.1


# --- schedules ---------------------------------------------------------------------------------------------------


async def test_a_schedule_runs_soon_and_then_on_time() -> None:
    async with Stack(sample.template(sample.schedule()), schedule_after_s=0.2) as stack:
        [note] = await Results(stack).of("tick", 1)
        assert note["tick"]["source"] == "aws.events"
        assert note["tick"]["resources"] == ["arn:aws:events:us-east-1:123456789012:rule/EveryMinute"]
        assert len(await Results(stack).after(0.5)) == 0


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "names"),
    [
        ({"Odd": {"Type": "AWS::Kinesis::Stream"}}, "AWS::Kinesis::Stream"),
        (sample.function("Broken", "echo", MemorySize={"Fn::If": ["Big", 512, 128]}), "Fn::If"),
        (sample.streams(StartingPosition="LATEST"), "TRIM_HORIZON"),
    ],
)
async def test_what_is_not_known_is_named(resources: dict[str, Any], names: str) -> None:
    with pytest.raises(TemplateError, match=names):
        async with Stack(sample.template(resources)):
            pass


async def test_functions_that_disagree_about_a_variable_cannot_share_a_process() -> None:
    resources = sample.template(sample.http())
    resources["Resources"]["Echo"]["Properties"]["Environment"]["Variables"]["COLOUR"] = "red"
    resources["Resources"]["Slow"]["Properties"]["Environment"]["Variables"]["COLOUR"] = "blue"
    with pytest.raises(TemplateError, match="COLOUR"):
        async with Stack(resources):
            pass
