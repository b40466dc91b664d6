"""Functions in worker processes: what a killed one loses, and what it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from local.stack import Stack
from tests.integration.sample import template as sample
from tests.integration.sample.results import Results
from tests.integration.sample.services import left_in, put, receive, send


def isolated(*parts: dict[str, Any], **arguments: Any) -> Stack:
    return Stack(sample.template(*parts), isolate=True, **arguments)


async def test_an_invocation_runs_in_another_process_which_is_used_again() -> None:
    async with (
        isolated(sample.http(), environment={"GREETING": "hello"}) as stack,
        httpx.AsyncClient(base_url=stack.http_url, trust_env=False, timeout=30) as client,
    ):
        first = (await client.post("/post?as=context")).json()
        second = (await client.post("/post?as=context")).json()
        assert first["pid"] == second["pid"] != os.getpid()
        assert first["greeting"] == "hello"
        assert first["requestId"] != second["requestId"]
        both = await asyncio.gather(client.get("/slow?seconds=0.3"), client.get("/slow?seconds=0.3"))
        assert [answer.status_code for answer in both] == [200, 200]
        assert len([worker for worker in stack.workers() if worker["function"] == "Slow"]) == 2


async def test_functions_may_disagree_about_a_variable() -> None:
    resources = sample.http()
    resources["Slow"]["Properties"]["Environment"]["Variables"]["GREETING"] = "slow"
    resources["Echo"]["Properties"]["Environment"]["Variables"]["GREETING"] = "echo"
    async with (
        isolated(resources) as stack,
        httpx.AsyncClient(base_url=stack.http_url, trust_env=False, timeout=30) as client,
    ):
        assert (await client.post("/post?as=context")).json()["greeting"] == "echo"


async def test_a_handler_that_exceeds_its_timeout_is_killed() -> None:
    async with (
        isolated(sample.http()) as stack,
        httpx.AsyncClient(base_url=stack.http_url, trust_env=False, timeout=30) as client,
    ):
        asked = asyncio.create_task(client.get("/slow?seconds=30", timeout=20))
        worker = await busy(stack, "Slow")
        assert (await asked).status_code == 500
        assert await gone(worker["pid"])
        assert (await client.get("/slow?seconds=0")).status_code == 200


async def test_an_invocation_that_is_killed_comes_again_after_its_visibility_timeout() -> None:
    async with isolated(sample.queues(visibility_s=2)) as stack:
        sent = time.time()
        send(stack, "slow 0.5")
        worker = await busy(stack, "Batch")
        results = Results(stack)
        [first] = await results.of("bodies", 1)
        os.kill(worker["pid"], signal.SIGKILL)
        _, second = await results.of("bodies", 2)
        assert first["pid"] == worker["pid"] != second["pid"]
        # A loaded machine takes its time to start the second worker; before its time the message must not come.
        assert 1.9 < second["at"] - sent < 20
        count = second["event"]["Records"][0]["attributes"]["ApproximateReceiveCount"]
        assert count == "2"
        await asyncio.sleep(1)
        assert left_in(stack, "Work") == 0


async def test_a_worker_that_dies_while_idle_is_replaced() -> None:
    async with isolated(sample.streams()) as stack:
        results = Results(stack)
        put(stack, 1)
        await results.of("stream", 1)
        await asyncio.sleep(0.2)
        [worker] = stack.workers()
        os.kill(worker["pid"], signal.SIGKILL)
        await asyncio.sleep(0.2)
        put(stack, 2)
        notes = await results.of("stream", 2)
        assert [note["stream"] for note in notes] == [["1"], ["2"]]


async def test_workers_come_back_after_the_process_that_forks_them_was_killed() -> None:
    async with isolated(sample.queues(visibility_s=60)) as stack:
        send(stack, "slow 30")
        worker = await busy(stack, "Batch")
        results = Results(stack)
        await results.of("bodies", 1)
        os.kill(psutil.Process(worker["pid"]).ppid(), signal.SIGKILL)
        # No worker outlives it.
        assert await gone(worker["pid"])
        send(stack, "a")
        first, second = await results.of("bodies", 2)
        assert first["pid"] == worker["pid"] != second["pid"]


async def test_a_handler_that_cannot_be_imported_fails_its_invocations() -> None:
    resources = sample.queues(receives=1)
    resources |= sample.function("Batch", "no_such_function")
    async with isolated(resources) as stack:
        send(stack, "a")
        [dead] = await receive(stack, "Dead")
        assert dead["Body"] == "a"


async def test_no_process_survives_the_stack() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with isolated(sample.queues()) as stack:
        send(stack, "slow 30")
        await busy(stack, "Batch")
        inside = {child.pid for child in psutil.Process().children(recursive=True)} - before
        assert len(inside) >= 2
        stopping = time.monotonic()
    # Not the 30 seconds that the message takes.
    assert time.monotonic() - stopping < 10
    assert all([await gone(pid) for pid in inside])


async def busy(stack: Stack, function: str) -> dict[str, Any]:
    """A worker that is at work on the function."""
    for _ in range(600):
        for worker in stack.workers():
            if worker["function"] == function and worker["requestId"]:
                return worker
        await asyncio.sleep(0.05)
    raise AssertionError(f"no worker took up {function}")


async def gone(pid: int) -> bool:
    """Whether a process has ended within two seconds."""
    for _ in range(40):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        await asyncio.sleep(0.05)
    return False
