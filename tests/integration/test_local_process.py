"""The runner as a process: how it starts, what it says, how it ends; and services that outlive it."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from local import process
from local.cloud.account import CREDENTIALS
from local.process import NotStarted, Running, running
from local.stack import Stack, Unreachable
from tests.integration.sample import template as sample
from tests.integration.sample.results import Results
from tests.integration.sample.services import left_in, put, send

_KEY = {"Authorization": "Bearer oek_alice"}
_FAST = {"QUOTE_DELAY_MS": "0", "LANDING_MIN_MS": "0", "LANDING_MAX_MS": "0", "FAILURE_RATE": "0"}


def test_it_says_where_it_is_and_a_command_that_works() -> None:
    with running(environment=_FAST) as runner:
        [command] = [line.removeprefix("Try:").strip() for line in runner.lines_with("Try:", seconds=30)]
        words = shlex.split(command)
        assert words[:4] == ["curl", "-X", "POST", f"{runner.http_url}/api/orders/execute"]
        headers = dict(word.split(": ", 1) for word, flag in zip(words[1:], words, strict=False) if flag == "-H")
        answer = httpx.post(words[3], headers=headers, content=words[-1], trust_env=False, timeout=30)
        assert answer.status_code == 202
        order_id = answer.json()["orderId"]
        # Its steps are shown as it works, one line each.
        [confirmed] = runner.lines_with("confirmed", seconds=60)
        assert order_id[:8] in confirmed
        assert "USDC" in confirmed
        assert "\x1b" not in confirmed
        statuses = [line.split()[2] for line in runner.lines if order_id[:8] in line]
        assert statuses == ["pending", "routing", "building", "submitted", "confirmed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_at_once_and_cleanly(number: signal.Signals) -> None:
    with running() as runner:
        started = time.monotonic()
        runner.process.send_signal(number)
        assert runner.process.wait(20) == 0
        # 20 ms; more on a machine that has too much to do.
        assert time.monotonic() - started < 5
        assert "Traceback" not in "".join(runner.lines)


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotStarted) as failure, running("--port", str(port)):
            pass
    text = str(failure.value)
    assert f"Cannot serve HTTP on 127.0.0.1:{port}" in text
    assert "Traceback" not in text


def test_an_absent_endpoint_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(NotStarted) as failure, running("--aws-endpoint", address):
        pass
    assert f"No simulated services answer at {address}" in str(failure.value)
    assert "Traceback" not in str(failure.value)


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = subprocess.run([sys.executable, "-m", "local", "--help"], capture_output=True, text=True, check=True)
    assert "--isolate" in shown.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_an_order_survives_the_loss_of_the_runner() -> None:
    slow = {**_FAST, "LANDING_MIN_MS": "2000", "LANDING_MAX_MS": "2000", "LEASE_MS": "6000", "SWEEP_BEAT_MS": "1000"}
    with running(module="local.aws") as services:
        elsewhere = ("--isolate", "--aws-endpoint", services.http_url)
        with running(*elsewhere, environment=slow) as runner:
            order_id = place(runner)
            assert runner.lines_with("submitted", seconds=20)
            family = psutil.Process(runner.process.pid).children(recursive=True)
            assert len(family) >= 3
            runner.kill()
            _, alive = psutil.wait_procs(family, timeout=5)
            assert not alive
        with running(*elsewhere, environment=slow) as runner:
            # A new runner works off what the old one left, once the lease has ended or the worker's last write held.
            seen: dict[str, Any] = {}
            for _ in range(600):
                seen = httpx.get(
                    f"{runner.http_url}/api/orders/{order_id}", headers=_KEY, trust_env=False, timeout=30
                ).json()
                if seen["status"] == "confirmed":
                    break
                time.sleep(0.1)
            assert [event["status"] for event in seen["events"]].count("submitted") == 1
            assert seen["status"] == "confirmed"


def place(runner: Running) -> str:
    body = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5"}
    answer = httpx.post(f"{runner.http_url}/api/orders/execute", json=body, headers=_KEY, trust_env=False, timeout=20)
    assert answer.status_code == 202
    return str(answer.json()["orderId"])


async def test_services_elsewhere_keep_what_they_hold() -> None:
    resources = sample.template(sample.streams(), sample.queues())
    with running(module="local.aws") as services:
        async with Stack(resources, aws_endpoint=services.http_url) as stack:
            put(stack, 1)
            results = Results(stack)
            await results.of("stream", 1)
            await results.after(0.3)
        # Nobody works now.
        put(stack, 2)
        send(stack, "later")
        assert left_in(stack, "Work") == 1
        async with Stack(resources, aws_endpoint=services.http_url) as stack:
            # It goes on where the first one was: the first change does not come again.
            [note] = await Results(stack).of("stream", 1)
            assert note["stream"] == ["2"]
        assert services.stop() == 0


def test_a_reader_that_was_killed_takes_no_message_with_it() -> None:
    with running(module="local.aws") as services:
        url = services.client("sqs").create_queue(QueueName="q")["QueueUrl"]
        code = f"import boto3; boto3.client('sqs').receive_message(QueueUrl={url!r}, WaitTimeSeconds=20)"
        environment = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": services.http_url}
        reading = subprocess.Popen([sys.executable, "-c", code], env=environment)
        time.sleep(2)
        assert reading.poll() is None
        reading.kill()
        reading.wait()
        time.sleep(0.3)
        client = services.client("sqs")
        client.send_message(QueueUrl=url, MessageBody="hello")
        time.sleep(0.3)
        assert [message["Body"] for message in client.receive_message(QueueUrl=url)["Messages"]] == ["hello"]


async def test_services_that_are_not_there_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable, match=address):
        async with Stack(sample.template(), aws_endpoint=address):
            pass


def test_a_runner_that_fails_says_what_it_wrote() -> None:
    with pytest.raises(NotStarted, match="unrecognized arguments: --nonsense"), process.running("--nonsense"):
        pass
