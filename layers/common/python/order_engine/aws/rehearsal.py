"""What a first call to AWS would load and build, loaded and built before there is one: while Lambda starts a function.

A function has a whole processor while it starts, whatever its memory, and SnapStart keeps what it has made by then:
clients, the services' models, rules for endpoints, serializers and parsers, in all some 150 ms of that processor. Every
client makes one call of each kind that matters, which is built and signed as any other and answered here: nothing is
sent, and no connection is opened.

Nothing that must differ between two copies of one snapshot is made meanwhile. Credentials are looked for when the first
real request is signed, the rehearsed ones are signed with a name that means nothing, and the random numbers that spread
retries begin anew in every copy.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-best-practices.html
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
"""

from __future__ import annotations

import importlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials, ReadOnlyCredentials, create_credential_resolver
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.client import BaseClient
    from botocore.session import Session

    from order_engine.aws.endpoint import Endpoint

_KEY = {"k": {"S": "v"}}
# By service: the calls whose shapes an order's way needs first.
_CALLS: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = {
    "dynamodb": (
        ("get_item", {"TableName": "table", "Key": _KEY}),
        ("put_item", {"TableName": "table", "Item": _KEY}),
        ("update_item", {"TableName": "table", "Key": _KEY, "ExpressionAttributeValues": {":v": {"N": "1"}}}),
        ("query", {"TableName": "table", "ExpressionAttributeValues": {":v": {"S": "v"}}}),
    ),
    "sqs": (("send_message", {"QueueUrl": "https://queue.invalid/1/orders", "MessageBody": "{}"}),),
    "secretsmanager": (("get_secret_value", {"SecretId": "secret"}),),
}
_NOBODY = ReadOnlyCredentials("rehearsal", "rehearsal", None, None)


class LateCredentials(Credentials):
    """Credentials that are looked for when the first request is signed, which is after a snapshot is restored."""

    def __init__(self, find: Callable[[], Credentials | None]) -> None:
        # The base class's constructor wants credentials; there are none yet. ``method`` tells where they came from.
        self.method = "late"
        self._find = find
        self._found: Credentials | None = None
        self._finding = threading.Lock()
        self.rehearsing = False

    def _real(self) -> Credentials:
        with self._finding:
            if self._found is None:
                self._found = self._find()
            if self._found is None:
                raise NoCredentialsError
            return self._found

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return _NOBODY if self.rehearsing else self._real().get_frozen_credentials()

    def get_deferred_property(self, property_name: str) -> Callable[[], Any]:
        """An endpoint may depend on the account that credentials belong to."""
        return lambda: None if self.rehearsing else getattr(self._real(), property_name, None)


class LateResolver:
    """In the place of a session's own resolver of credentials."""

    def __init__(self, session: Session) -> None:
        self.credentials = LateCredentials(create_credential_resolver(session).load_credentials)

    def load_credentials(self) -> LateCredentials:
        return self.credentials


@contextmanager
def without_credentials(session: Session) -> Iterator[None]:
    """Let what is made and called here do without credentials, and find its own afterwards."""
    resolver = LateResolver(session)
    session.register_component("credential_provider", resolver)
    resolver.credentials.rehearsing = True
    try:
        yield
    finally:
        resolver.credentials.rehearsing = False


def rehearse(clients: Sequence[BaseClient], endpoints: Sequence[Endpoint]) -> None:
    """Let each make its first calls, answered here."""
    for client in clients:
        # The stubs say that a handler answers nothing; this event's may.
        events: Any = client.meta.events
        service = client.meta.service_model.service_name
        events.register_first("before-send", _answer, unique_id="rehearsal")
        try:
            for operation, arguments in _CALLS[service]:
                getattr(client, operation)(**arguments)
        finally:
            events.unregister("before-send", _answer, unique_id="rehearsal")
    for endpoint in endpoints:
        endpoint.rehearse()


class _Nothing:
    """The body of an answer without a word."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield b"{}"


def _answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
    headers = HTTPHeaders()
    headers["Content-Type"] = "application/x-amz-json-1.0"
    return AWSResponse(request.url, 200, headers, _Nothing())


def begin_anew_after_restore() -> None:
    """Give every copy of a snapshot random numbers of its own. They only spread retries; names come from the system."""
    try:
        hooks = importlib.import_module("snapshot_restore_py")
    except ImportError:
        # Lambda's runtime brings it; nobody else takes snapshots.
        return
    hooks.register_after_restore(random.seed)
