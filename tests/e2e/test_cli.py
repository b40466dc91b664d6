"""The command line as a process of its own, against the real local stack."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.terminal import INTERRUPTED, NOT_REACHABLE, OK, ORDER_FAILED, REFUSED, UNWELL
from local import Running, running

ROOT = Path(__file__).resolve().parents[2]
FAST = {"QUOTE_DELAY_MS": "20", "LANDING_MIN_MS": "50", "LANDING_MAX_MS": "200", "RETRY_BASE_MS": "50"}
COMMAND = [sys.executable, "-m", "cli.main"]
LIFE = ["pending", "routing", "building", "submitted", "confirmed"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Running]:
    limits = {"ORDERS_PER_MINUTE": "10000", "ORDERS_BURST": "10000"}
    with running(environment={**FAST, **limits, "FAILURE_RATE": "0"}) as started:
        yield started


def environment(stack: Running | None, **more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ORDER_ENGINE_", "AWS_"))}
    return {**own, **({} if stack is None else {"ORDER_ENGINE_URL": stack.http_url}), **more}


def run(stack: Running | None, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, env=environment(stack, **more), capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == OK, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_order_is_placed_watched_read_and_listed(stack: Running) -> None:
    events = lines(run(stack, "submit", "SOL", "USDC", "1.5", "--watch", "--json"))
    assert [event["status"] for event in events] == LIFE
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    order_id = events[0]["orderId"]

    (order,) = lines(run(stack, "show", order_id, "--json"))
    assert order["status"] == "confirmed"
    assert [event | {"orderId": order_id} for event in order["events"]] == events
    again = lines(run(stack, "watch", order_id, "--after", "3", "--json"))
    assert again == events[3:]

    shown = run(stack, "watch", order_id)
    assert shown.returncode == OK
    for status in LIFE:
        assert status in shown.stdout
    assert order["txHash"] in shown.stdout
    assert order_id in run(stack, "list").stdout
    assert lines(run(stack, "stats", "--json"))[0]["byStatus"]["confirmed"] >= 1


def test_the_same_key_is_the_same_order(stack: Running) -> None:
    placed = [run(stack, "submit", "SOL", "USDC", "1", "--idempotency-key", "k", "--json") for _ in range(2)]
    first, second = (lines(done)[0] for done in placed)
    assert first["orderId"] == second["orderId"]
    assert (first["replayed"], second["replayed"]) == (False, True)
    other = run(stack, "submit", "SOL", "USDC", "2", "--idempotency-key", "k")
    assert other.returncode == REFUSED


def test_a_limit_order_rests_until_it_is_cancelled(stack: Running) -> None:
    (placed,) = lines(run(stack, "submit", "SOL", "USDC", "1", "--limit", "1000000", "--expires-in", "1h", "--json"))
    assert placed["status"] == "open"
    resting = lines(run(stack, "list", "--status", "open", "--json"))
    assert [order["orderId"] for order in resting] == [placed["orderId"]]
    assert lines(run(stack, "cancel", placed["orderId"], "--json"))[0]["status"] == "cancelled"
    assert run(stack, "cancel", "no-such-order").returncode == REFUSED
    assert run(stack, "watch", placed["orderId"]).returncode == ORDER_FAILED


def test_what_cannot_be_done_is_refused_with_a_reason(stack: Running) -> None:
    for arguments, reason in (
        (("submit", "SOL", "SOL", "1"), "same token"),
        (("submit", "SOL", "DOGE", "1"), "not traded"),
        (("submit", "SOL", "USDC", "0"), "greater than zero"),
        (("quote", "SOL", "USDC", "1.0000000001"), "9 decimals"),
        (("watch", "no-such-order"), "No order among yours begins with no-such-order."),
        (("watch", "fcbb10b2-561e-5542-bbcd-dbcd8fc27228"), "no such order"),
        (("stats", "--key", "oek_wrong"), "key"),
    ):
        done = run(stack, *arguments)
        assert (done.returncode, done.stdout) == (REFUSED, "")
        assert reason in done.stderr


def test_a_quote_and_a_demonstration_show_the_routing(stack: Running) -> None:
    quote = run(stack, "quote", "SOL", "USDC", "1500")
    assert quote.returncode == OK
    assert {"raydium", "meteora"} <= set(re.findall("raydium|meteora", quote.stdout))
    done = run(stack, "demo", "-n", "4")
    assert done.returncode == OK, done.stderr
    assert re.search(r"^4 of 4 confirmed in [\d.]+ m?s to [\d.]+ m?s\.$", done.stdout, re.MULTILINE)
    assert done.stdout.count("confirmed  ") == 4
    # What it prints of an order is enough to look at it.
    shown = re.findall(r"([0-9a-f]{8}…)  confirmed  ", done.stdout)
    assert run(stack, "show", shown[0]).returncode == OK


def test_a_load_is_measured(stack: Running) -> None:
    (report,) = lines(run(stack, "load", "--rate", "10", "--seconds", "2", "--json"))
    assert (report["sent"], report["accepted"], report["unfinished"]) == (20, 20, 0)
    assert report["ended"] == {"confirmed": 20}
    assert 0 < report["acceptedMs"]["p50"] <= report["acceptedMs"]["p99"] <= report["acceptedMs"]["max"]
    assert report["endedMs"]["p50"] > 70
    assert "Until the end" in run(stack, "load", "--rate", "5", "--seconds", "1").stdout


def test_a_key_that_is_created_trades_for_its_own_user_only(stack: Running) -> None:
    local = {"AWS_ENDPOINT_URL": stack.aws_url}
    created = run(stack, "keys", "create", "bob", "--scope", "read", "--json", **local)
    key = lines(created)[0]
    mine = run(stack, "list", ORDER_ENGINE_KEY=key["key"])
    assert "There are no such orders." in mine.stdout
    refused = run(stack, "submit", "SOL", "USDC", "1", ORDER_ENGINE_KEY=key["key"])
    assert refused.returncode == REFUSED
    assert "trade" in refused.stderr
    assert key["keyId"] in run(stack, "keys", "list", **local).stdout
    assert run(stack, "keys", "revoke", key["keyId"], **local).returncode == OK


def test_what_was_set_aside_is_given_to_the_order_queue_again(stack: Running) -> None:
    sqs = stack.client("sqs")
    (quarantine,) = (url for url in sqs.list_queues()["QueueUrls"] if "quarantine" in url.lower())
    event = lines(run(stack, "submit", "SOL", "USDC", "1", "--watch", "--json"))[-1]
    body = json.dumps({"userId": "alice", "orderId": event["orderId"]})
    for text in (body, "not ours"):
        sqs.send_message(QueueUrl=quarantine, MessageBody=text)
    (done,) = lines(
        run(stack, "redrive", "--from", "quarantine", "--limit", "2", "--json", AWS_ENDPOINT_URL=stack.aws_url)
    )
    assert (done["moved"], done["unreadable"]) == (1, 1)
    # An order that has ended stays as it is.
    (order,) = lines(run(stack, "show", event["orderId"], "--json"))
    assert order["seq"] == event["seq"]


def test_an_order_that_fails_is_told_by_the_exit_code() -> None:
    with running(environment={**FAST, "FAILURE_RATE": "1"}) as failing:
        done = run(failing, "submit", "SOL", "USDC", "1", "--watch")
    assert done.returncode == ORDER_FAILED
    assert "Next try in" in done.stdout
    assert "4 attempts" in done.stdout


def test_nothing_running_is_said_plainly() -> None:
    done = run(None, "stats", "--url", "http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (NOT_REACHABLE, "")
    assert done.stderr.startswith("Error: Nothing answers at http://127.0.0.1:9: the connection was refused.")
    done = run(None, "stats", "--url", "http://127.0.0.1:9", "--json")
    assert json.loads(done.stderr)["error"]["code"] == "not_reachable"


def test_a_reader_that_has_seen_enough_is_no_error(stack: Running) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m cli.main list --json | head -n 1"],
        cwd=ROOT,
        env=environment(stack),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout)["orderId"]


def test_on_a_terminal_the_stages_move_and_an_interrupt_says_how_to_go_on() -> None:
    slow = {**FAST, "FAILURE_RATE": "0", "LANDING_MIN_MS": "60000", "LANDING_MAX_MS": "60000"}
    with running(environment=slow) as stack:
        screen, terminal = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "submit", "SOL", "USDC", "1.5", "--watch"],
            cwd=ROOT,
            env=environment(stack, TERM="xterm-256color", COLUMNS="100", LINES="40"),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            # In the background of a script the tests would not have it either.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(terminal)
        seen = ""
        deadline = time.monotonic() + 50
        while "submitted" not in seen and time.monotonic() < deadline:
            seen += _read(screen)
        # The spinner moves.
        while len(set(re.findall("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", seen))) < 3 and time.monotonic() < deadline:
            seen += _read(screen)
        process.send_signal(signal.SIGINT)
        while process.poll() is None and time.monotonic() < deadline:
            seen += _read(screen)
        seen += _read(screen)
        code = process.wait(5)
        os.close(screen)
    assert code == INTERRUPTED
    assert "1.5 SOL → USDC" in seen
    assert len(set(re.findall("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", seen))) >= 3
    assert "order-engine watch" in seen
    assert "Traceback" not in seen


def _read(screen: int) -> str:
    ready, _, _ = select.select([screen], [], [], 0.2)
    try:
        return os.read(screen, 65536).decode(errors="replace") if ready else ""
    except OSError:
        # The other end is closed.
        return ""


def test_the_doctor_finds_a_local_stack_well_and_sees_what_was_set_aside(stack: Running) -> None:
    sqs = stack.client("sqs")
    (url,) = (url for url in sqs.list_queues()["QueueUrls"] if "Quarantine" in url)
    # Another test leaves what nobody can read there.
    sqs.purge_queue(QueueUrl=url)
    done = run(stack, "doctor", "--json", "--aws-endpoint", stack.aws_url)
    found = {finding["about"]: finding["state"] for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == OK, done.stdout
    assert {about for about, state in found.items() if state == "ok"} >= {
        *("reachable", "clock", "key", "order", "socket"),
        *("dead letters", "quarantine", "stream failures"),
    }
    sqs.send_message(QueueUrl=url, MessageBody="whatever it was")
    try:
        done = run(stack, "doctor", "--no-order", "--aws-endpoint", stack.aws_url)
        assert done.returncode == UNWELL
        assert "WRONG" in done.stdout
        assert "1 thing is wrong" in done.stdout
    finally:
        # A queue is purged once a minute at most.
        (letter,) = sqs.receive_message(QueueUrl=url)["Messages"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])
