"""DynamoDB, SQS and Secrets Manager on this machine: moto, with its departures from AWS put right.

The services live in one process. Code in that process reaches them without a socket (``Services.attach``); other
processes reach them over HTTP (``local.cloud.server``), with ``AWS_ENDPOINT_URL``.

What differs from bare moto:

* one lock around every call, since moto's state is not safe between threads;
* a long poll waits without the lock and ends the moment a message becomes visible;
* a stream has no record for a write that changed nothing, and one record, not two, for an update that created
  its item;
* ``changes`` lets a reader sleep until a stream has grown.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.handlers import BUILTIN_HANDLERS
from moto.core.base_backend import BackendDict
from moto.core.botocore_stubber import MockRawResponse
from moto.core.request import Request as MotoRequest
from moto.dynamodb.responses import DynamoHandler
from moto.dynamodbstreams.models import dynamodbstreams_backends
from moto.dynamodbstreams.responses import DynamoDBStreamsHandler
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.sqs.responses import SQSResponse
from werkzeug.exceptions import HTTPException

from local.cloud.account import ACCOUNT, REGION
from local.cloud.moto_state import (
    MAX_WAIT_S,
    dead_letter_count,
    forget_iterators,
    plain,
    queue_named,
    stream_lengths,
    tidy_streams,
    until_visible,
)

_HANDLERS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "DynamoDB_20120810": ("dynamodb", DynamoHandler.dispatch),
    "DynamoDBStreams_20120810": ("streams.dynamodb", DynamoDBStreamsHandler.dispatch),
    "AmazonSQS": ("sqs", SQSResponse.dispatch),
    "secretsmanager": ("secretsmanager", SecretsManagerResponse.dispatch),
}
_WRITES = frozenset(
    {
        "PutItem",
        "UpdateItem",
        "DeleteItem",
        "BatchWriteItem",
        "TransactWriteItems",
        "ExecuteStatement",
        "BatchExecuteStatement",
        "ExecuteTransaction",
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response of a simulated service."""

    status: int
    headers: Mapping[str, str]
    body: bytes


type Answering = Callable[[str, Mapping[str, str], bytes], Answer]

# https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
_CALLER = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult>
<Arn>arn:aws:sts::{ACCOUNT}:assumed-role/local/local</Arn><UserId>LOCAL:local</UserId><Account>{ACCOUNT}</Account>
</GetCallerIdentityResult>
<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>
</GetCallerIdentityResponse>""".encode()


def _never() -> bool:
    return False


class Services:
    """The simulated services of this process. moto keeps its state in globals, so there is one at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stream_version = 0
        self._closed = False
        with self._lock:
            BackendDict.reset()

    def close(self) -> None:
        """End every wait at once; later long polls answer empty."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def attach(self, answering: Answering | None = None) -> None:
        """Answer the boto3 calls of this process, of clients whose session is made from now on.

        Args:
            answering: what answers in place of ``answer``.
        """
        global _attached
        _attached = self, answering or self.answer
        # A default session from before has a copy of the hooks without ours.
        boto3.DEFAULT_SESSION = None

    def detach(self) -> None:
        global _attached
        if _attached is not None and _attached[0] is self:
            _attached = None

    def answer(
        self, target: str, headers: Mapping[str, str], body: bytes, abandoned: Callable[[], bool] = _never
    ) -> Answer:
        """Answer one call of the JSON protocol. Blocks for as long as a long poll asks.

        Args:
            target: the X-Amz-Target header, e.g. ``AmazonSQS.ReceiveMessage``.
            abandoned: whether the caller has gone, so that a long poll must not take messages any more.
        """
        if b"Action=GetCallerIdentity" in body and not target:
            return Answer(200, {"Content-Type": "text/xml"}, _CALLER)
        service, _, operation = target.partition(".")
        known = _HANDLERS.get(service)
        if known is None:
            message = f"{target or 'a call without X-Amz-Target'} is not simulated"
            return Answer(501, {}, json.dumps({"__type": "NotSimulated", "message": message}).encode())
        if target == "AmazonSQS.ReceiveMessage":
            return self._receive(known, headers, body, abandoned)
        if target == "DynamoDBStreams_20120810.GetRecords":
            return self._records(body)
        with self._lock:
            lengths = stream_lengths() if operation in _WRITES else {}
            answer = _call(known, target, headers, body)
            if operation in _WRITES and tidy_streams(lengths):
                self._stream_version += 1
            if operation in _WRITES or service == "AmazonSQS":
                self._changed.notify_all()
        return answer

    def changes(self, after: int, wait_s: float, abandoned: Callable[[], bool] = _never) -> int:
        """How often the streams have grown; waits until it is more than ``after``, ``wait_s`` seconds at most."""
        with self._lock:
            self._changed.wait_for(
                lambda: self._stream_version != after or self._closed or abandoned(), timeout=min(wait_s, MAX_WAIT_S)
            )
            return self._stream_version

    def release_waiters(self) -> None:
        """Let every wait look again whether its caller has gone."""
        with self._lock:
            self._changed.notify_all()

    def _records(self, body: bytes) -> Answer:
        """GetRecords. moto would spend a millisecond on each record, checking it against the API's model."""
        request: dict[str, Any] = json.loads(body)
        backend = dynamodbstreams_backends[ACCOUNT][REGION]
        with self._lock:
            if request["ShardIterator"] not in backend.shard_iterators:
                message = "Shard iterator has expired."
                return Answer(400, {}, json.dumps({"__type": "ExpiredIteratorException", "message": message}).encode())
            result = backend.get_records(request["ShardIterator"], int(request.get("Limit", 1000)))
            forget_iterators(backend.shard_iterators)
        # A record does not change any more.
        return Answer(200, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(result, default=plain).encode())

    def _receive(
        self,
        handler: tuple[str, Callable[..., Any]],
        headers: Mapping[str, str],
        body: bytes,
        abandoned: Callable[[], bool],
    ) -> Answer:
        request: dict[str, Any] = json.loads(body)
        name = str(request.get("QueueUrl", "")).rpartition("/")[2]
        with self._lock:
            queue = queue_named(name)
            default = int(queue.receive_message_wait_time_seconds or 0) if queue else 0  # type: ignore[attr-defined]
            wait_s = min(float(request.get("WaitTimeSeconds", default)), MAX_WAIT_S)
            deadline = time.monotonic() + wait_s
            # moto would sleep inside its own loop, holding the lock.
            request["WaitTimeSeconds"] = 0
            once = json.dumps(request).encode()
            while True:
                dead = dead_letter_count(queue)
                answer = _call(handler, "AmazonSQS.ReceiveMessage", headers, once)
                if dead_letter_count(queue) != dead:
                    self._changed.notify_all()
                remaining = deadline - time.monotonic()
                if answer.status != 200 or b'"Messages"' in answer.body or remaining <= 0 or self._closed:
                    return answer
                self._changed.wait(min(remaining, until_visible(queue_named(name))))
                if abandoned():
                    return answer


_attached: tuple[Services, Answering] | None = None


def _intercept(request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
    """botocore's hook before a request is sent: an answer here means that nothing is sent."""
    if _attached is None or not (urlsplit(request.url).hostname or "").endswith(".amazonaws.com"):
        return None
    headers = {str(name): _text(value) for name, value in request.headers.items()}
    body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
    answer = _attached[1](headers.get("X-Amz-Target", ""), headers, body)
    headers_back = HTTPHeaders()
    for name, value in answer.headers.items():
        headers_back[name] = value
    return AWSResponse(request.url, answer.status, headers_back, MockRawResponse(answer.body))


# Sessions copy this list when they are made; without attached services the hook does nothing.
BUILTIN_HANDLERS.append(("before-send", _intercept))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _call(handler: tuple[str, Callable[..., Any]], target: str, headers: Mapping[str, str], body: bytes) -> Answer:
    host, dispatch = handler
    # The address is AWS's whoever asks, so that queue URLs are the same for every process.
    address = f"https://{host}.{REGION}.amazonaws.com/"
    kept = {name: value for name, value in headers.items() if name.lower() in _KEPT_HEADERS} | {"X-Amz-Target": target}
    request = MotoRequest.from_primitives("POST", address, kept, body)
    try:
        status, response_headers, content = dispatch(request, address, request.headers)
    except HTTPException as error:
        status, response_headers, content = error.code or 400, error.get_headers(), error.get_body()
    plain = {str(name): str(value) for name, value in dict(response_headers).items()}
    return Answer(int(status), plain, content.encode() if isinstance(content, str) else bytes(content))


_KEPT_HEADERS = frozenset({"content-type", "authorization", "user-agent"})
