"""An AWS account in memory that notes every call: by which function, on what, and what it would cost.

The handlers run in this process, from events like AWS's; boto3 is real down to where a request would be sent.
Tables, queues and the secret are those of the synthesised template, so that names, permissions and indexes are too.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import boto3

from local.cloud import deployment
from local.cloud.account import ACCOUNT, CREDENTIALS, REGION
from local.cloud.deployment import Deployment
from local.cloud.services import Answer
from local.cloud.template import Function
from local.functions import Context, Invocation, context_of, handler_of
from order_engine.aws.endpoint import Endpoint
from order_engine.compose import Engine as OrderEngine
from order_engine.compose import deployed

type Json = Any
type Item = Mapping[str, Json]

_SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "secretsmanager": "secretsmanager"}
# One permission covers an operation and its batched form.
_ACTIONS = {
    "SendMessageBatch": "SendMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "DeleteMessageBatch": "DeleteMessage",
}
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One call to AWS.

    Attributes:
        function: the handler that made it; empty for the bench itself.
        action, resources: as IAM names them.
        leading_keys: partition keys of the items that it names, where it names any.
        ok: whether the service did what it was asked.
        write_units, index_units, read_units: what DynamoDB charges on demand; the index's writes are not in the first.
        item_bytes: the size of the largest item it touched.
    """

    function: str
    operation: str
    action: str
    resources: tuple[str, ...]
    ok: bool
    leading_keys: tuple[str, ...] = ()
    write_units: int = 0
    index_units: int = 0
    read_units: float = 0
    item_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Invoked:
    """One run of a handler: its CPU time without AWS's side, and how long it took by the clock, in milliseconds."""

    function: str
    cpu_ms: float
    wall_ms: float
    calls: tuple[Call, ...]
    result: Json


def item_size(item: Item) -> int:
    """Bytes of an item as DynamoDB counts them.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html: names and texts in
    UTF-8; a number about one byte for two significant digits, and one more; one byte for booleans and nulls; three
    for a list or map, and one for each element of it.
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Json) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return _number_size(content)
        case "B":
            return len(base64.b64decode(content))
        case "BS":
            return sum(len(base64.b64decode(element)) for element in content)
        case "SS":
            return sum(len(text.encode()) for text in content)
        case "NS":
            return sum(map(_number_size, content))
        case "L":
            return 3 + sum(1 + _value_size(element) for element in content)
        case "M":
            return 3 + sum(len(name.encode()) + 1 + _value_size(element) for name, element in content.items())
        case "BOOL" | "NULL":
            return 1
    raise ValueError(f"no such type in DynamoDB: {kind}")


def _number_size(text: str) -> int:
    digits = re.sub(r"[eE].*|[-+.]", "", text).strip("0") or "0"
    return (len(digits) + 1) // 2 + 1 + text.startswith("-")


def write_units(before: Item | None, after: Item | None) -> int:
    """Units of one write to a table: of the item before and after the larger, per KiB; at least one."""
    largest = max(item_size(before) if before else 0, item_size(after) if after else 0)
    return max(1, math.ceil(largest / _KIB))


def index_units(before: Item | None, after: Item | None, keys: Sequence[str]) -> int:
    """Units of one KEYS_ONLY index: one for an entry that comes or goes, two for one whose key changes.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html, "Write capacity units".
    """
    old, new = _entry(before, keys), _entry(after, keys)
    return 0 if old == new else (old is not None) + (new is not None)


def _entry(item: Item | None, keys: Sequence[str]) -> tuple[str, ...] | None:
    if item is None or any(key not in item for key in keys):
        return None
    return tuple(json.dumps(item[key]) for key in keys)


def read_units(size: int, *, consistent: bool) -> float:
    """Units of one read: 4 KiB each, half of that where it need not be consistent."""
    return max(1, math.ceil(size / (4 * _KIB))) * (1.0 if consistent else 0.5)


def _context(function: Function, timeout_s: float) -> Context:
    return context_of(Invocation(function, None, str(uuid.uuid4()), time.time() + timeout_s))


class Account:
    """The account. One at a time per process, since handlers read its environment: use ``running``."""

    def __init__(self, made: Deployment) -> None:
        self.template = template = made.template
        self.calls: list[Call] = []
        # Sockets that have gone without a word, and frames that were sent to the others, with their sockets.
        self.gone: set[str] = set()
        self.frames: list[tuple[str, bytes]] = []
        self.closed: list[str] = []
        # Operations that fail, once each, with this status: what a network does.
        self.failing: dict[str, int] = {}
        self.functions = made.functions
        self.engine: OrderEngine = deployed()
        self._handlers: dict[str, Callable[[Json, Context], Json]] = {}
        self._services = made.services
        self._apart = made.apart
        # Which one is running; empty for the bench itself.
        self._function = ""
        self._lock = threading.Lock()
        self._inside_s = 0.0
        self._read_records = 0
        self._partition_keys = {
            template.name(table): str(template.properties(table)["KeySchema"][0]["AttributeName"])
            for table in template.of_type("AWS::DynamoDB::Table")
        }
        self._indexes = {
            template.name(table): [
                tuple(key["AttributeName"] for key in index["KeySchema"])
                for index in template.properties(table).get("GlobalSecondaryIndexes", ())
            ]
            for table in template.of_type("AWS::DynamoDB::Table")
        }

    # --- the service's side

    def answer(self, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a call as AWS would, and note it."""
        started = time.thread_time()
        answer = self._call(target, headers, body)
        with self._lock:
            self._inside_s += time.thread_time() - started
        return answer

    def _call(self, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        prefix, _, operation = target.partition(".")
        failure = self.failing.pop(operation, None)
        if failure is not None:
            return Answer(failure, {}, b'{"__type": "InternalServerError", "message": "made to fail"}')
        asked = json.loads(body)
        # Not to be mixed with another call's writes.
        with self._lock:
            before = self._stored(asked) if operation in ("PutItem", "UpdateItem", "DeleteItem") else None
            answer = self._services.answer(target, headers, body)
            after = self._stored(asked) if before is not None else None
        if self._function:
            ok = answer.status < 400
            told = json.loads(answer.body or b"{}")
            call = self._described(_SERVICES.get(prefix, prefix), operation, asked, ok)
            if before is not None and after is not None:
                call = self._with_writes(call, asked["TableName"], before[0], after[0])
            elif call.action.startswith("dynamodb:"):
                call = _with_reads(call, asked, told)
            self._note(call)
        return answer

    def _stored(self, asked: Json) -> tuple[Item | None]:
        """The item that a write is about, boxed."""
        keys = self._services.answer(
            "DynamoDB_20120810.DescribeTable", CREDENTIALS, json.dumps({"TableName": asked["TableName"]}).encode()
        )
        names = [key["AttributeName"] for key in json.loads(keys.body)["Table"]["KeySchema"]]
        source = asked.get("Key") or asked["Item"]
        question = {"TableName": asked["TableName"], "Key": {name: source[name] for name in names}}
        answer = self._services.answer("DynamoDB_20120810.GetItem", CREDENTIALS, json.dumps(question).encode())
        return (json.loads(answer.body).get("Item"),)

    def _described(self, service: str, operation: str, asked: Json, ok: bool) -> Call:
        action = f"{service}:{_ACTIONS.get(operation, operation)}"
        named = tuple(self._leading_keys(operation, asked)) if service == "dynamodb" else ()
        return Call(self._function, operation, action, tuple(_resources(service, asked)), ok, named)

    def _leading_keys(self, operation: str, asked: Json) -> Iterator[str]:
        match operation:
            case "BatchGetItem":
                items = [(table, key) for table, part in asked["RequestItems"].items() for key in part["Keys"]]
            case "PutItem":
                items = [(asked["TableName"], asked["Item"])]
            case "GetItem" | "UpdateItem" | "DeleteItem":
                items = [(asked["TableName"], asked["Key"])]
            case "Query" if "IndexName" not in asked:
                items = [(asked["TableName"], self._queried(asked))]
            case _:
                items = []
        for table, item in items:
            yield item[self._partition_keys[table]]["S"]

    def _queried(self, asked: Json) -> Item:
        """The partition key that a query of a table names."""
        partition = self._partition_keys[asked["TableName"]]
        for name, value in re.findall(r"(#?\w+) = (:\w+)", asked["KeyConditionExpression"]):
            if asked.get("ExpressionAttributeNames", {}).get(name, name) == partition:
                return {partition: asked["ExpressionAttributeValues"][value]}
        raise ValueError(f"no partition key in {asked['KeyConditionExpression']}")

    def _with_writes(self, call: Call, table: str, before: Item | None, after: Item | None) -> Call:
        return dataclasses.replace(
            call,
            write_units=write_units(before, after),
            index_units=sum(index_units(before, after, keys) for keys in self._indexes[table]) if call.ok else 0,
            item_bytes=max(item_size(before or {}), item_size(after or {})),
        )

    async def socket(
        self, endpoint: Endpoint, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> int:
        """@connections of the WebSocket API: 410 for sockets that have gone. Stands in for ``Endpoint.send``."""
        started = time.thread_time()
        path = unquote(target)
        connection = path.rpartition("/")[2]
        api = dict(headers)["Host"].partition(".")[0]
        stage = path.split("/")[1]
        here = connection not in self.gone
        resource = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/{stage}/{method}/@connections/{connection}"
        operation = {"POST": "PostToConnection", "DELETE": "DeleteConnection", "GET": "GetConnection"}[method]
        self._note(Call(self._function, operation, "execute-api:ManageConnections", (resource,), here))
        if here and method == "POST":
            self.frames.append((connection, body))
        if here and method == "DELETE":
            self.closed.append(connection)
        with self._lock:
            self._inside_s += time.thread_time() - started
        return 200 if here else 410

    def _note(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)

    # --- the platform's side

    def function(self, handler: str) -> Function:
        return next(function for function in self.functions.values() if function.handler == f"{handler}.lambda_handler")

    def invoke(self, handler: str, event: Json, *, timeout_s: float | None = None) -> Invoked:
        """Run a handler as Lambda does. ``handler`` is its module; ``timeout_s`` wins over the function's own."""
        function = self.function(handler)
        context = _context(function, timeout_s or function.timeout_s)
        event = json.loads(json.dumps(event))
        # Not a context variable: what several wait for is done in no context of theirs.
        self._function = handler
        try:
            # What it does while it starts is not part of the invocation.
            run = self._handler(function.handler)
            known = len(self.calls)
            inside, started, cpu = self._inside_s, time.monotonic(), time.process_time()
            result = run(event, context)
        finally:
            self._function = ""
        cpu_s = time.process_time() - cpu - (self._inside_s - inside)
        return Invoked(handler, 1000 * cpu_s, 1000 * (time.monotonic() - started), tuple(self.calls[known:]), result)

    def forget(self) -> None:
        """Make everything anew, as new execution environments would."""
        self.engine = deployed()
        self._handlers.clear()

    def _handler(self, dotted: str) -> Callable[[Json, Context], Json]:
        if dotted not in self._handlers:
            found: Any = handler_of(dotted)
            self._handlers[dotted] = found.over(self._engine_of(dotted))
        return self._handlers[dotted]

    def _engine_of(self, dotted: str) -> OrderEngine:
        if self._apart is None:
            return self.engine
        function = self.function(dotted.rpartition(".")[0])
        return deployed({**function.environment, **self._apart})

    def messages(self, queue: str, limit: int = 10) -> list[Json]:
        """Receive from a queue, by the beginning of its logical id: records as the event source gives them."""
        answer = boto3.client("sqs").receive_message(
            QueueUrl=self.queue_url(queue), MaxNumberOfMessages=limit, AttributeNames=["All"]
        )
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            for message in answer.get("Messages", [])
        ]

    def delete(self, queue: str, records: Sequence[Json]) -> None:
        """What the event source does with messages that are spent."""
        for record in records:
            boto3.client("sqs").delete_message(QueueUrl=self.queue_url(queue), ReceiptHandle=record["receiptHandle"])

    def queue_url(self, name: str) -> str:
        found = [q for q in self.template.of_type("AWS::SQS::Queue") if q.logical_id.startswith(f"Queues{name}")]
        return str(self.template.value({"Ref": found[0].logical_id}))

    def table_name(self, name: str) -> str:
        found = [t for t in self.template.of_type("AWS::DynamoDB::Table") if t.logical_id.startswith(f"Storage{name}")]
        return self.template.name(found[0])

    def changes(self) -> list[Json]:
        """The orders stream's records since the last time."""
        streams = boto3.client("dynamodbstreams")
        arn = streams.list_streams(TableName=self.table_name("Orders"))["Streams"][0]["StreamArn"]
        shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        iterator: str | None = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[Json] = []
        for _ in range(1000):
            if iterator is None:
                break
            answer = streams.get_records(ShardIterator=iterator, Limit=1000)
            if not answer["Records"]:
                break
            records += answer["Records"]
            iterator = answer.get("NextShardIterator")
        fresh = records[self._read_records :]
        self._read_records = len(records)
        return [json.loads(json.dumps(record, default=str)) for record in fresh]


def _resources(service: str, asked: Json) -> Iterator[str]:
    """The ARNs that IAM checks a call against."""
    if service == "dynamodb":
        for table in asked.get("RequestItems") or [asked["TableName"]]:
            arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"
            yield f"{arn}/index/{asked['IndexName']}" if "IndexName" in asked else arn
    elif service == "sqs":
        yield f"arn:aws:sqs:{REGION}:{ACCOUNT}:{asked['QueueUrl'].rpartition('/')[2]}"
    elif service == "secretsmanager":
        yield asked["SecretId"]
    else:
        raise ValueError(f"What {service} acts on is not known here.")


def _with_reads(call: Call, asked: Json, told: Json) -> Call:
    match call.operation:
        case "GetItem":
            size = item_size(told.get("Item") or {})
            units = read_units(size, consistent=asked.get("ConsistentRead", False))
        case "Query" | "Scan":
            size = sum(map(item_size, told.get("Items", ())))
            units = read_units(size, consistent=asked.get("ConsistentRead", False))
        case "BatchGetItem":
            units, size = 0.0, 0
            for table, items in told.get("Responses", {}).items():
                consistent = asked["RequestItems"][table].get("ConsistentRead", False)
                units += sum(read_units(item_size(item), consistent=consistent) for item in items)
                size = max([size, *map(item_size, items)])
        case _:
            return call
    return dataclasses.replace(call, read_units=units, item_bytes=size)


@contextlib.contextmanager
def running(body: Mapping[str, Json], **settings: str) -> Iterator[Account]:
    """The account of a synthesised template. ``settings`` by environment name win over the template's."""
    with deployment.deployed(body, **settings) as made:
        account = Account(made)
        made.services.attach(account.answer)
        with patch.object(Endpoint, "send", lambda self, *asked, **limits: account.socket(self, *asked)):
            yield account
