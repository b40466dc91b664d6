"""The local stack: the template's resources, brought to life on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, Self

import boto3
from aiohttp import web
from botocore.exceptions import BotoCoreError, ClientError

from local import event_sources, queue_poller, schedules, stream_poller
from local.cloud.account import ACCOUNT, CREDENTIALS, REGION
from local.cloud.environment import common_environment, process_environment
from local.cloud.provision import provision
from local.cloud.server import serve
from local.cloud.services import Services
from local.cloud.template import Function, Json, Template, TemplateError, functions
from local.discreet import keep_requests_out_of_logs
from local.functions import Functions, Host, InProcess
from local.gateway import Api, Gatekeeper, apis
from local.http_api import HttpApi
from local.isolated import Isolated
from local.threads import in_thread
from local.websocket_api import IDLE_S, LONGEST_S, WebSocketApi

logger = logging.getLogger("local")

_WAIT_S = 15.0
_CHECKPOINTS = "local-checkpoints"
# What a developer's own AWS configuration must not change here.
_NEUTRAL: Mapping[str, str | None] = {
    "AWS_PROFILE": None,
    "AWS_DEFAULT_PROFILE": None,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "NO_PROXY": "127.0.0.1,localhost",
}


class PortTaken(Exception):
    """A port cannot be listened on."""

    def __init__(self, purpose: str, port: int, reason: str) -> None:
        super().__init__(f"Cannot serve {purpose} on 127.0.0.1:{port}: {reason}. Choose another port; 0 is a free one.")


class Unreachable(Exception):
    """The simulated services that should be running elsewhere do not answer."""


class Stack:
    """Runs a synthesised template until the block ends: ``async with Stack(template) as stack: …``.

    One stack at a time per process: AWS clients read the process's environment, and moto's state is global. Handlers
    that keep what they read then see the first stack's only: use ``isolate``, or ``local.running``.

    Args:
        template: as CloudFormation JSON.
        environment: variables that win over the template's, in every function.
        http_port, ws_port, aws_port: 0 for free ones.
        isolate: run each function in worker processes instead of threads.
        aws_endpoint: use the simulated services that run there (``python -m local.aws``), with what they hold.
        output: where the isolated workers' output goes; None for this process's own.
        observe: is called with each record of a stream, before a function gets it.
        ws_idle_s, ws_longest_s: when sockets are closed.
        schedule_after_s: when schedules run first.

    Raises:
        PortTaken, Unreachable, TemplateError: on entering.
    """

    def __init__(
        self,
        template: Mapping[str, Json],
        environment: Mapping[str, str] | None = None,
        *,
        http_port: int = 0,
        ws_port: int = 0,
        aws_port: int = 0,
        isolate: bool = False,
        aws_endpoint: str | None = None,
        output: IO[str] | None = None,
        observe: Callable[[Json], None] | None = None,
        ws_idle_s: float = IDLE_S,
        ws_longest_s: float = LONGEST_S,
        schedule_after_s: float = 1.0,
    ) -> None:
        self._template = Template(template, account=ACCOUNT, region=REGION)
        self._overrides = dict(environment or {})
        self._ports = {"HTTP": http_port, "WebSocket": ws_port}
        self._aws_port = aws_port
        self._isolate = isolate
        self._endpoint = aws_endpoint
        self._output = output
        self._observe = observe
        self._ws_limits = (ws_idle_s, ws_longest_s)
        self._schedule_after_s = schedule_after_s
        self._closing = contextlib.AsyncExitStack()
        self._pollers: set[asyncio.Task[None]] = set()
        self._host: Host | None = None
        self.http_url = ""
        self.ws_url = ""
        self.aws_url = ""
        self.session = boto3.Session(region_name=REGION)
        self.environments: dict[str, Mapping[str, str]] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._closing.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def workers(self) -> list[dict[str, Json]]:
        """The worker processes of an isolated stack; none otherwise."""
        return self._host.workers() if isinstance(self._host, Isolated) else []

    def update(self, function: str, roots: Sequence[Path] = ()) -> None:
        """Run a function of an isolated stack from other sources from now on; see ``local.isolated``."""
        if not isinstance(self._host, Isolated):
            raise TypeError("Only an isolated stack can run functions of several releases.")
        self._host.update(function, roots)

    def client(self, service: str) -> Any:
        """A boto3 client of the simulated services."""
        return self.session.client(service, endpoint_url=self._endpoint)  # type: ignore[call-overload]

    async def _start(self) -> None:
        closing = self._closing
        sockets = {purpose: self._listen(purpose, port) for purpose, port in self._ports.items()}
        self.http_url = f"http://127.0.0.1:{sockets['HTTP'].getsockname()[1]}"
        ws_address = f"127.0.0.1:{sockets['WebSocket'].getsockname()[1]}"
        self.ws_url = f"ws://{ws_address}"

        closing.enter_context(process_environment({**CREDENTIALS, **_NEUTRAL, "AWS_ENDPOINT_URL": self._endpoint}))
        services = await self._services()
        self.session = boto3.Session(region_name=REGION)
        await in_thread(provision, self._template, self.session)

        http, websocket = _only(self._template, "HTTP"), _only(self._template, "WEBSOCKET")
        found = {function.name: function for function in self._functions(websocket, ws_address)}
        self.environments = {function.name: function.environment for function in found.values()}
        self._host = await self._start_host(found)
        running = Functions(found, self._host)
        closing.push_async_callback(running.stop)

        gatekeeper = Gatekeeper(running)
        if http is not None:
            await self._serve(HttpApi(http, running, gatekeeper).application(), sockets["HTTP"])
        if websocket is not None:
            idle_s, longest_s = self._ws_limits
            api = WebSocketApi(websocket, running, gatekeeper, idle_s=idle_s, longest_s=longest_s)
            await self._serve(api.application(), sockets["WebSocket"])
            closing.push_async_callback(api.stop)
        await self._start_pollers(running, services)

    def _listen(self, purpose: str, port: int) -> socket.socket:
        # All ports are taken before anything starts: the functions' environment names them.
        try:
            listening = socket.create_server(("127.0.0.1", port), backlog=512)
        except (OSError, OverflowError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else "ports end at 65535"
            raise PortTaken(purpose, port, reason) from error
        self._closing.callback(listening.close)
        return listening

    async def _services(self) -> Services | None:
        """Start the simulated services here, unless they run elsewhere."""
        if self._endpoint is not None:
            self.aws_url = self._endpoint
            try:
                await in_thread(_changes, self._endpoint, -1, 0.0)
            except (OSError, ValueError) as error:
                raise Unreachable(
                    f"No simulated services answer at {self._endpoint}: start them with .venv/bin/python -m local.aws."
                ) from error
            return None
        services = Services()
        try:
            runner, self.aws_url = await serve(services, self._aws_port, {"/workers": self.workers})
        except OSError as error:
            raise PortTaken("AWS services", self._aws_port, error.strerror or str(error)) from error
        self._closing.push_async_callback(runner.cleanup)
        services.attach()
        self._closing.callback(services.detach)
        # Before anything else ends: what waits for messages must not take any more.
        self._closing.callback(services.close)
        return services

    def _functions(self, websocket: Api | None, ws_address: str) -> list[Function]:
        """The template's functions, with this machine's addresses in place of the WebSocket API's."""
        aws = re.compile(rf"(wss|https)://{websocket.id}\.execute-api\.[a-z0-9.-]+" if websocket else "(?!)")
        schemes = {"wss": "ws", "https": "http"}
        return [
            Function(
                **{name: getattr(function, name) for name in function.__slots__ if name != "environment"},
                environment={
                    name: aws.sub(lambda match: f"{schemes[match[1]]}://{ws_address}", value)
                    for name, value in function.environment.items()
                }
                | self._overrides,
            )
            for function in functions(self._template)
        ]

    async def _start_host(self, found: Mapping[str, Function]) -> Host:
        host: Host
        if self._isolate:
            shared = {**CREDENTIALS, "AWS_ENDPOINT_URL": self.aws_url}
            shared |= {name: value for name, value in _NEUTRAL.items() if value is not None}
            host = Isolated(found, shared, self._output)
        else:
            self._closing.enter_context(process_environment(common_environment(found)))
            host = InProcess(found)
        await host.start()
        return host

    async def _serve(self, app: web.Application, listening: socket.socket) -> None:
        keep_requests_out_of_logs()
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._closing.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening).start()

    async def _start_pollers(self, running: Functions, services: Services | None) -> None:
        changes: stream_poller.Changes
        checkpoints: stream_poller.Checkpoints
        if services is not None:
            changes, checkpoints = _LocalChanges(services), _MemoryCheckpoints()
        else:
            changes, checkpoints = _RemoteChanges(self.aws_url), _TableCheckpoints(self.session)
        self._closing.push_async_callback(self._stop_pollers)
        observe = None if self._observe is None else _once(self._observe)
        for mapping in event_sources.mappings(self._template):
            poller: queue_poller.QueuePoller | stream_poller.StreamPoller
            if ":sqs:" in mapping.source_arn:
                poller = await in_thread(queue_poller.QueuePoller, mapping, running, self.session)
            else:
                poller = await in_thread(
                    stream_poller.StreamPoller, mapping, running, self.session, changes, checkpoints, observe
                )
            self._poll(poller.run())
        for schedule in schedules.schedules(self._template):
            self._poll(schedules.run(schedule, running, first_after_s=self._schedule_after_s))

    def _poll(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._pollers.add(task)
        task.add_done_callback(_report)

    async def _stop_pollers(self) -> None:
        for task in self._pollers:
            task.cancel()
        await asyncio.gather(*self._pollers, return_exceptions=True)


def _once(observe: Callable[[Json], None]) -> Callable[[Json], None]:
    """Show each record when the first of a stream's readers comes to it; all of them read in the stream's order."""
    last = -1

    def show(record: Json) -> None:
        nonlocal last
        number = int(record["dynamodb"]["SequenceNumber"])
        if number > last:
            last = number
            observe(record)

    return show


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.critical("a poller has died: restart the stack", exc_info=task.exception())


def _only(template: Template, protocol: Literal["HTTP", "WEBSOCKET"]) -> Api | None:
    found = apis(template, protocol)
    if len(found) > 1:
        raise TemplateError(f"The local stack serves one {protocol} API; the template has {len(found)}.")
    return found[0] if found else None


class _LocalChanges:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def wait(self, after: int) -> int:
        return await in_thread(self._services.changes, after, _WAIT_S)


class _RemoteChanges:
    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def wait(self, after: int) -> int:
        return await in_thread(_changes, self._endpoint, after, _WAIT_S)


def _changes(endpoint: str, after: int, wait_s: float) -> int:
    query = urllib.parse.urlencode({"after": after, "wait": wait_s})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{endpoint.rstrip('/')}/changes?{query}", timeout=wait_s + 5) as answer:
        return int(json.load(answer)["version"])


class _MemoryCheckpoints:
    """The services end with this process, and with them everything that a checkpoint could point to."""

    async def load(self, key: str) -> str | None:
        return None

    async def save(self, key: str, sequence: str) -> None:
        return None


class _TableCheckpoints:
    """Checkpoints beside the streams they point into, so that a restarted runner goes on where it was."""

    def __init__(self, session: boto3.Session) -> None:
        self._client = session.client("dynamodb")
        with contextlib.suppress(self._client.exceptions.ResourceInUseException):
            self._client.create_table(
                TableName=_CHECKPOINTS,
                KeySchema=[{"AttributeName": "mapping", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "mapping", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )

    async def load(self, key: str) -> str | None:
        answer = await in_thread(self._client.get_item, TableName=_CHECKPOINTS, Key={"mapping": {"S": key}})
        return answer["Item"]["sequence"]["S"] if "Item" in answer else None

    async def save(self, key: str, sequence: str) -> None:
        item = {"mapping": {"S": key}, "sequence": {"S": sequence}}
        # A lost checkpoint means that records come again, which they may anyway.
        with contextlib.suppress(BotoCoreError, ClientError):
            await in_thread(self._client.put_item, TableName=_CHECKPOINTS, Item=item)
