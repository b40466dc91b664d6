"""Handlers in worker processes, one invocation at a time each, started on demand and used again.

Killing a worker kills its invocation and nothing else, as the loss of an execution environment does on Lambda. A
handler that exceeds its timeout is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.cloud.template import Function, Json
from local.functions import Invocation, InvocationError, context_of

_START_S = 20.0
_LINE_LIMIT = 64 * 1024 * 1024


@dataclass(slots=True)
class Worker:
    """One worker process, connected. ``request_id`` is what it works on, or None; ``release`` counts updates."""

    function: str
    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    release: int
    request_id: str | None = None


class Isolated:
    """A ``Host`` of worker processes.

    Args:
        functions: by name.
        shared: environment of every worker besides its function's own: credentials and the services' address.
        log: where the workers' output goes.
    """

    def __init__(self, functions: Mapping[str, Function], shared: Mapping[str, str], log: IO[str] | None) -> None:
        self._functions = functions
        self._shared = dict(shared)
        self._log = log
        self._idle: dict[str, list[Worker]] = {name: [] for name in functions}
        self._workers: dict[int, Worker] = {}
        self._awaited: dict[int, asyncio.Future[tuple[int, asyncio.StreamReader, asyncio.StreamWriter]]] = {}
        self._roots: dict[str, Sequence[Path]] = {}
        self._release: Counter[str] = Counter()
        self._ids = itertools.count(1)
        self._directory = ""
        self._parent: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._stopped = False
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="local-")
        self._server = await asyncio.start_unix_server(self._connected, self._address, limit=_LINE_LIMIT)
        await self._living_parent()

    @property
    def _address(self) -> str:
        return str(Path(self._directory) / "workers")

    async def _living_parent(self) -> asyncio.subprocess.Process:
        """The process that forks the workers; another one if somebody killed it, and its workers with it."""
        async with self._starting:
            if self._stopped:
                raise InvocationError("Runtime.Unavailable", "the runner is stopping")
            if self._parent is None or self._parent.returncode is not None:
                own = {name for function in self._functions.values() for name in function.environment}
                environment = {name: value for name, value in os.environ.items() if name not in own} | self._shared
                self._parent = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "local.worker",
                    self._address,
                    stdin=subprocess.PIPE,
                    stdout=self._log,
                    stderr=self._log,
                    env=environment,
                    # Ctrl-C is for the runner alone; it stops its workers itself.
                    start_new_session=True,
                )
            return self._parent

    async def run(self, invocation: Invocation) -> Json:
        name = invocation.function.name
        async with asyncio.timeout(_START_S):
            worker = await self._take(invocation.function)
        worker.request_id = invocation.request_id
        # Starting an environment is not part of the time that a handler may take.
        limit = time.time() + invocation.function.timeout_s
        context = dataclasses.asdict(context_of(dataclasses.replace(invocation, deadline=limit)))
        try:
            async with asyncio.timeout(invocation.function.timeout_s):
                worker.writer.write(json.dumps({"event": invocation.event, "context": context}).encode() + b"\n")
                await worker.writer.drain()
                line = await worker.reader.readline()
        except ConnectionError:
            line = b""
        except BaseException:
            self._kill(worker)
            raise
        if not line.endswith(b"\n"):
            self._drop(worker)
            raise InvocationError("Runtime.ExitError", f"{name}: the worker {worker.pid} ended without an answer")
        worker.request_id = None
        if worker.release == self._release[name]:
            self._idle[name].append(worker)
        else:
            self._kill(worker)
        answer = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            raise InvocationError(error["errorType"], error["errorMessage"], error["stackTrace"])
        return answer["result"]

    def update(self, name: str, roots: Sequence[Path] = ()) -> None:
        """Run a function's next invocations from other sources, as a deployment of another release does.

        What runs is left to end, and its worker is used no more.

        Args:
            roots: directories to import from before this project's own; none for this project's.
        """
        self._roots[name] = tuple(roots)
        self._release[name] += 1
        while self._idle[name]:
            self._kill(self._idle[name].pop())

    def workers(self) -> list[dict[str, Json]]:
        """The worker processes there are: function, process id, and the request that each works on."""
        return [
            {"function": worker.function, "pid": worker.pid, "requestId": worker.request_id}
            for worker in self._workers.values()
        ]

    async def _take(self, function: Function) -> Worker:
        idle = self._idle[function.name]
        while idle:
            worker = idle.pop()
            # A worker that was killed while idle has closed its end.
            if not worker.reader.at_eof():
                return worker
            self._drop(worker)
        number, release = next(self._ids), self._release[function.name]
        future: asyncio.Future[tuple[int, asyncio.StreamReader, asyncio.StreamWriter]]
        future = asyncio.get_running_loop().create_future()
        self._awaited[number] = future
        order = {
            "id": number,
            "handler": function.handler,
            "environment": dict(function.environment),
            "roots": [str(root) for root in self._roots.get(function.name, ())],
        }
        try:
            pid, reader, writer = await self._forked(order, future)
        finally:
            del self._awaited[number]
        worker = Worker(function.name, pid, reader, writer, release)
        self._workers[pid] = worker
        return worker

    async def _forked[T](self, order: Mapping[str, Json], connected: asyncio.Future[T]) -> T:
        """Have a worker forked, and wait until it has connected."""
        parent = await self._living_parent()
        ended = asyncio.ensure_future(parent.wait())
        try:
            assert parent.stdin is not None
            with contextlib.suppress(ConnectionError):
                parent.stdin.write(json.dumps(order).encode() + b"\n")
                await parent.stdin.drain()
            await asyncio.wait((connected, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if not connected.done():
            raise InvocationError("Runtime.Unavailable", "the process that forks the workers has ended")
        return connected.result()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ValueError):
            hello = json.loads(await reader.readline())
            future = self._awaited.get(hello["id"])
            if future is not None and not future.done():
                future.set_result((hello["pid"], reader, writer))
                return
        writer.close()

    def _kill(self, worker: Worker) -> None:
        # At the end of its stream the process is gone, and its number may be another's.
        if not worker.reader.at_eof():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
        self._drop(worker)

    def _drop(self, worker: Worker) -> None:
        self._workers.pop(worker.pid, None)
        worker.writer.close()

    async def stop(self) -> None:
        self._stopped = True
        for worker in list(self._workers.values()):
            self._kill(worker)
        if self._parent is not None and self._parent.returncode is None:
            self._parent.kill()
            await self._parent.wait()
        if self._server is not None:
            self._server.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
