"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli import client as client_module
from cli import main, operate, render, terminal
from cli.client import Client
from cli.load import quantile
from order_engine.aws import redrive
from order_engine.domain.order import OrderRef, Status
from order_engine.domain.tokens import SOL, USDC
from order_engine.version import VERSION
from order_engine.wire.messages import encode
from tests.support.cloud import deployed
from tests.unit.cli_engine import ORDER, OTHER, ROUTE

runner = CliRunner()
LOCAL = Path(__file__).resolve().parents[2] / "local" / "demo.py"


class Api:
    """The API's answers by method and path, and what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[f"{request.method} {request.url.path}"]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    made = Api()
    monkeypatch.setattr(client_module, "Client", partial(Client, transport=httpx.MockTransport(made)))
    monkeypatch.setattr(client_module, "_FIRST_WAIT_S", 0.0)
    for name in ("ORDER_ENGINE_URL", "ORDER_ENGINE_KEY", "ORDER_ENGINE_STAGE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return made


def run(*arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(main.app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_local_stack_is_used_with_its_own_key(api: Api) -> None:
    api.answers["GET /api/stats"] = httpx.Response(500, json={"message": "no"})
    run("stats")
    assert str(api.requests[0].url) == "http://127.0.0.1:8000/api/stats"
    assert api.requests[0].headers["Authorization"] == f"Bearer {terminal.LOCAL_KEY}"
    assert f"{{KEY_PREFIX}}{terminal.LOCAL_KEY.removeprefix('oek_')}" in LOCAL.read_text()


def test_a_stage_needs_a_key_and_the_demonstration_key_never_leaves_this_machine(api: Api) -> None:
    code, _, stderr = run("stats", "--url", "https://engine.example")
    assert code == terminal.USAGE
    assert "ORDER_ENGINE_KEY" in stderr
    assert api.requests == []


def test_submit_prints_the_order_and_sends_percent_as_basis_points(api: Api) -> None:
    answer = {"orderId": "o-1", "status": "pending", "createdAt": "t", "wsUrl": "ws://x"}
    api.answers["POST /api/orders/execute"] = httpx.Response(202, json=answer)
    code, stdout, _ = run("submit", "SOL", "USDC", "1.5", "--slippage", "0.35")
    assert (code, stdout.split()) == (terminal.OK, ["o-1", "pending"])
    assert json.loads(api.requests[0].content)["slippageBps"] == 35

    code, stdout, _ = run("submit", "SOL", "USDC", "1.5", "--limit", "150", "--expires-in", "2h", "--json")
    assert json.loads(stdout)["orderId"] == "o-1"
    sent = json.loads(api.requests[1].content)
    assert (sent["type"], sent["limitPrice"]) == ("limit", "150")
    ahead = datetime.fromisoformat(sent["expiresAt"]) - datetime.now(UTC)
    assert 7100 < ahead.total_seconds() <= 7200


@pytest.mark.parametrize(
    "wrong",
    [
        ["submit", "SOL", "USDC"],
        ["submit", "SOL", "USDC", "1", "--slippage", "much"],
        ["submit", "SOL", "USDC", "1", "--slippage", "0.001"],
        ["submit", "SOL", "USDC", "1", "--slippage", "1e999999999"],
        ["submit", "SOL", "USDC", "1", "--slippage", "-1"],
        ["submit", "SOL", "USDC", "1", "--slippage", "NaN"],
        ["submit", "SOL", "USDC", "1", "--expires-in", "soon"],
        ["submit", "SOL", "USDC", "1", "--expires-in", "999999999d"],
        ["show", ""],
        ["cancel", "…"],
        ["demo", "-n", "0"],
        ["load", "--rate", "500", "--seconds", "3600"],
        ["list", "--status", "done"],
        ["no-such-command"],
        ["stats", "--url", "engine.example", "--key", "k"],
        ["stats", "--url", "http://", "--key", "k"],
        ["stats", "--url", "http://[::bad", "--key", "k"],
        ["stats", "--url", "ftp://engine.example", "--key", "k"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_asks_nobody(api: Api, wrong: list[str]) -> None:
    code, stdout, stderr = run(*wrong)
    assert code == terminal.USAGE
    assert stderr
    assert stdout == ""
    assert api.requests == []


def test_a_refusal_ends_with_3_and_says_why(api: Api) -> None:
    problem = {"code": "invalid_amount", "detail": "SOL has 9 decimals; this amount has more.", "field": "amountIn"}
    api.answers["POST /api/orders/execute"] = httpx.Response(422, json=problem)
    code, stdout, stderr = run("submit", "SOL", "USDC", "1.0000000001")
    assert (code, stdout) == (terminal.REFUSED, "")
    assert "amountIn: SOL has 9 decimals" in stderr

    code, stdout, stderr = run("submit", "SOL", "USDC", "1.0000000001", "--json")
    assert (code, stdout) == (terminal.REFUSED, "")
    assert json.loads(stderr) == {"error": problem}


def test_a_stack_that_is_not_running_ends_with_4_and_says_how_to_start_it(api: Api) -> None:
    api.answers["GET /api/stats"] = httpx.ConnectError("no")
    code, _, stderr = run("stats")
    assert code == terminal.NOT_REACHABLE
    assert "127.0.0.1:8000" in stderr
    assert "make run" in stderr


def test_an_order_of_unknown_fate_can_be_found_again(api: Api) -> None:
    api.answers["POST /api/orders/execute"] = httpx.ReadTimeout("late")
    code, _, stderr = run("submit", "SOL", "USDC", "1")
    assert code == terminal.NOT_REACHABLE
    assert f"--idempotency-key {api.requests[0].headers['Idempotency-Key']}" in stderr


def test_the_servers_text_is_never_taken_for_markup(api: Api) -> None:
    answer = httpx.Response(422, json={"code": "x", "detail": "[red]not[/red] [link=http://x]markup[/link]"})
    api.answers["GET /api/stats"] = answer
    _, _, stderr = run("stats")
    assert "[red]not[/red] [link=http://x]markup[/link]" in stderr


def test_a_list_shows_whole_ids_and_json_has_one_order_a_line(api: Api) -> None:
    resting = ORDER | {"orderId": "second", "status": "open", "limitPrice": "1000", "amountOut": None, "venue": None}
    api.answers["GET /api/orders"] = httpx.Response(200, json={"orders": [ORDER, resting]})
    code, stdout, _ = run("list")
    assert code == terminal.OK
    assert ORDER["orderId"] in stdout
    assert "1.5 SOL → USDC at 1,000 or better" in stdout
    _, stdout, _ = run("list", "--json", "-n", "1")
    assert [json.loads(line)["orderId"] for line in stdout.splitlines()] == [ORDER["orderId"]]


def test_show_has_the_price_against_the_quote_and_the_whole_signature(api: Api) -> None:
    event = {"seq": 1, "status": "pending", "at": ORDER["createdAt"], "attempt": 0}
    api.answers[f"GET /api/orders/{ORDER['orderId']}"] = httpx.Response(200, json=ORDER | {"events": [event]})
    _, stdout, _ = run("show", ORDER["orderId"])
    assert "-0.91 bps against the quote" in stdout
    assert ORDER["txHash"] in stdout
    assert "2.50 s, 1 attempt" in stdout


def test_the_beginning_of_an_id_names_an_order(api: Api) -> None:
    other = ORDER | {"orderId": "fcbb10b3-561e-5542-bbcd-dbcd8fc27228"}
    twin = ORDER | {"orderId": "fcbb10b2-0000-5542-bbcd-dbcd8fc27228"}
    api.answers["GET /api/orders"] = httpx.Response(200, json={"orders": [other, ORDER]})
    api.answers[f"GET /api/orders/{ORDER['orderId']}"] = httpx.Response(200, json=ORDER | {"events": []})
    api.answers[f"DELETE /api/orders/{ORDER['orderId']}"] = httpx.Response(200, json=ORDER | {"status": "cancelled"})
    # As a table shows it, and as a log does.
    for short in ("fcbb10b2…", "fcbb10b2", "fcbb10b2-561e"):
        code, stdout, _ = run("show", short)
        assert (code, ORDER["orderId"] in stdout) == (terminal.OK, True)
    assert run("cancel", "fcbb10b2")[1].split() == [ORDER["orderId"], "cancelled"]

    api.answers["GET /api/orders"] = httpx.Response(200, json={"orders": [twin, ORDER]})
    before = len(api.requests)
    code, stdout, stderr = run("cancel", "fcbb10b2")
    assert (code, stdout) == (terminal.REFUSED, "")
    assert twin["orderId"] in stderr
    assert ORDER["orderId"] in stderr
    assert [request.method for request in api.requests[before:]] == ["GET"]
    code, _, stderr = run("show", "00000000")
    assert code == terminal.REFUSED
    assert "No order among yours begins with 00000000." in stderr


def test_the_beginning_of_an_id_is_looked_for_among_the_newest_only(api: Api) -> None:
    page = {"orders": [ORDER] * 100, "nextCursor": "more"}
    api.answers["GET /api/orders"] = httpx.Response(200, json=page)
    code, _, stderr = run("show", "00000000")
    assert code == terminal.REFUSED
    assert "No order among the newest 1,000 begins with 00000000." in stderr
    assert len(api.requests) == 10


def test_a_quote_marks_the_route_that_would_be_taken(api: Api) -> None:
    quote = {
        "at": "t",
        "venue": "raydium",
        "reason": "It gives most.",
        "route": ROUTE,
        "quotes": [ROUTE, OTHER],
        "leftOut": [{"venue": "orca", "reason": "late"}],
        "improvementBps": "0",
        "improvementOverOtherBps": "2.7",
        "runnerUp": "meteora",
        "networkFeeLamports": 5000,
        "optimalityGapBps": "0.0001",
    }
    api.answers["GET /api/quote"] = httpx.Response(200, json=quote)
    _, stdout, _ = run("quote", "SOL", "USDC", "1.5")
    marked = [line for line in stdout.splitlines() if "▶" in line]
    assert len(marked) == 1
    assert "raydium" in marked[0]
    assert "It gives most." in stdout
    assert "orca left out: late" in stdout


@pytest.fixture
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("command", [["keys", "list"], ["keys", "revoke", "k"], ["keys", "create", "bob"], ["redrive"]])
def test_what_is_missing_is_said_in_the_order_in_which_it_is_needed(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    code, stdout, stderr = run(*command)
    assert (code, stdout) == (terminal.USAGE, "")
    assert "Say which deployment: --stage" in stderr
    code, _, stderr = run(*command, "--stage", "dev")
    assert code == terminal.AWS_FAILED
    assert "in which AWS region: --region" in stderr
    code, _, stderr = run(*command, "--stage", "dev", "--region", "eu-central-1")
    assert code == terminal.AWS_FAILED
    assert "There are no AWS credentials" in stderr


def test_the_region_is_taken_from_where_the_deployment_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def fail(place: operate.Place, name: str) -> str:
        seen.append(place.client("sqs").meta.region_name)
        raise operate.NotFound("no")

    monkeypatch.setattr(operate.Place, "output", fail)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    run("redrive", "--stage", "dev")
    run("redrive", "--stage", "dev", "--region", "eu-west-3")
    assert seen == ["eu-north-1", "eu-west-3"]


class Stacks:
    """CloudFormation with one stack."""

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        if StackName != "order-engine-dev":
            error: Any = {"Error": {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}}
            raise ClientError(error, "DescribeStacks")
        return {"Stacks": [{"Outputs": [{"OutputKey": "KeysTable", "OutputValue": "the-table"}]}]}


def test_a_stage_is_found_by_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate.Place, "client", lambda place, service: Stacks())
    assert operate.Place("dev", None).table("Keys") == "the-table"
    with pytest.raises(operate.NotFound, match="order-engine-nowhere"):
        operate.Place("nowhere", None).table("Keys")
    with pytest.raises(operate.NotFound, match="no output Queue"):
        operate.Place("dev", None).output("Queue")


@pytest.fixture
def queues() -> Iterator[dict[str, str]]:
    with deployed() as made:
        yield {"source": made.quarantine_queue_url, "orders": made.orders_queue_url}


def send(queue: str, *bodies: str) -> None:
    for body in bodies:
        boto3.client("sqs", region_name="us-east-1").send_message(QueueUrl=queue, MessageBody=body)


def bodies(queue: str) -> list[str]:
    client = boto3.client("sqs", region_name="us-east-1")
    found: list[str] = []
    while answer := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in answer]
    return found


@pytest.mark.usefixtures("_aws", "api")
def test_redrive_moves_what_can_be_read_and_leaves_the_rest(
    queues: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive, "_POLL_S", 0)
    monkeypatch.setattr(redrive, "_HIDDEN_S", 1)
    by_output = {"QuarantineQueue": queues["source"], "OrdersQueue": queues["orders"]}
    monkeypatch.setattr(operate.Place, "output", lambda place, name: by_output[name])
    good = [encode(OrderRef("u", str(n))) for n in range(25)]
    send(queues["source"], *good, "not ours")

    code, stdout, _ = run("redrive", "--from", "quarantine", "--stage", "dev", "--limit", "3", "--json")
    assert (code, json.loads(stdout)["moved"]) == (terminal.OK, 3)
    code, stdout, _ = run("redrive", "--from", "quarantine", "--stage", "dev")
    assert code == terminal.OK
    assert "22 moved from quarantine" in stdout
    assert "1 cannot be read" in stdout
    assert sorted(bodies(queues["orders"])) == sorted(good)
    time.sleep(1.1)
    assert bodies(queues["source"]) == ["not ours"]


@pytest.mark.usefixtures("_aws", "api")
def test_redrive_deletes_nothing_that_was_not_sent(queues: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "_POLL_S", 0)
    monkeypatch.setattr(redrive, "_HIDDEN_S", 0)
    good = [encode(OrderRef("u", str(n))) for n in range(5)]
    send(queues["source"], *good)
    client = boto3.client("sqs", region_name="us-east-1")

    def refuse_two(*, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803 - as boto3 names it
        answer = {"Successful": [{"Id": entry["Id"]} for entry in Entries[2:]]}
        return answer | {"Failed": [{"Id": entry["Id"]} for entry in Entries[:2]]}

    monkeypatch.setattr(client, "send_message_batch", refuse_two)
    done = asyncio.run(redrive.redrive(client, queues["source"], queues["orders"], limit=100))
    assert done == redrive.Redriven(moved=3)
    assert len(bodies(queues["source"])) == 2


def test_a_defect_is_reported_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def broken() -> None:
        raise RuntimeError("[bold]it broke[/bold]")

    monkeypatch.setattr(main, "app", broken)
    monkeypatch.delenv("ORDER_ENGINE_DEBUG", raising=False)
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == terminal.DEFECT
    stderr = capsys.readouterr().err
    assert "[bold]it broke[/bold]" in stderr
    assert "Traceback" not in stderr


def test_the_help_names_every_exit_code() -> None:
    _, stdout, _ = run("--help")
    for code in terminal.EXITS:
        assert f"{code} " in stdout


@given(st.integers(0, 2**64 - 1), st.sampled_from([SOL, USDC]))
def test_numbers_are_shown_shorter_but_never_wrong(units: int, token: Any) -> None:
    from decimal import Decimal

    from order_engine.domain.amounts import format_amount

    exact = Decimal(format_amount(units, token))
    shown = Decimal(render.number(str(exact)).replace(",", ""))
    assert abs(shown - exact) <= abs(exact) * Decimal("5e-8")
    assert Decimal(render.number(str(exact), 20).replace(",", "")) == exact


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from([50, 90, 99, 100]))
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = quantile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert all(
        sum(other <= value for other in values) * 100 < percent * len(values) for value in values if value < found
    )


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=100))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    table = render.histogram(values)
    assert sum(int(str(cell)) for cell in table.columns[1].cells) == len(values)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_mark_of_five_stages_at_least(status: Status) -> None:
    assert len(render.stage_bar(status, Status.BUILDING).plain) == 5


# --- whoever reads, and what was pasted -------------------------------------------------------------------------------

CHATTER = """
import sys
from cli import main
from cli.terminal import console

@main.app.command()
def chatter() -> None:
    for _ in range(100_000):
        {says}

sys.argv = ["order-engine", "chatter"]
main.main()
"""


@pytest.mark.parametrize("says", ["print('x' * 80)", "console.print('x' * 80)"])
def test_an_output_that_nobody_reads_is_not_taken_for_an_order_that_failed(says: str) -> None:
    """``submit --watch | head -1`` in a script: with the code of a failed order, the script would place it again."""
    with subprocess.Popen([sys.executable, "-c", CHATTER.format(says=says)], stdout=PIPE, stderr=PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(60) == terminal.UNREAD == 141


def test_an_output_that_nobody_reads_is_found_behind_another_error_of_the_same_moment() -> None:
    says = "raise ExceptionGroup('', [ConnectionResetError(104, 'reset'), BrokenPipeError(32, 'closed')])"
    done = subprocess.run([sys.executable, "-c", CHATTER.format(says=says)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (terminal.UNREAD, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["list", "--help"]])
def test_a_full_disk_is_said_and_is_no_defect(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from cli.entry import main; main()", *arguments],
            stdout=full,
            stderr=PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == terminal.UNWRITTEN
    assert done.stderr == "The output cannot be written: No space left on device.\n"


# The first module that the command loads finds an interruption instead.
INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, {handler})
from cli.entry import main

class Interrupting:
    @staticmethod
    def find_spec(*_):
        os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
sys.argv = ["order-engine", "--version"]
main()
"""


def interrupted(handler: str) -> tuple[int, str, str]:
    code = INTERRUPTED.replace("{handler}", handler)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_an_interruption_while_it_loads_ends_it_quietly() -> None:
    assert interrupted("signal.default_int_handler") == (-signal.SIGINT, "", "")


def test_where_interruptions_are_not_for_it_they_do_not_end_it() -> None:
    """As in the background of a script."""
    assert interrupted("signal.SIG_IGN") == (0, f"order-engine {VERSION}\n", "")


def test_a_terminal_of_few_characters_is_shown_what_it_can() -> None:
    code = CHATTER.format(says="console.print('≤ €')").replace("100_000", "1")
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True
    )
    assert done.stdout == b"? ?\n"


@pytest.mark.parametrize("key", ["oek_ü", "oek_\nX-Other: y", "oek_a b", "“oek_a”"])
def test_what_can_be_no_key_is_said_before_anything_is_sent(key: str) -> None:
    done = runner.invoke(main.app, ["stats", "--url", "http://127.0.0.1:9", "--key", key])
    assert done.exit_code == terminal.USAGE
    assert "API key" in done.output


def test_a_port_that_no_address_has_is_no_defect() -> None:
    done = runner.invoke(main.app, ["stats", "--url", "http://127.0.0.1:99999", "--key", "oek_a"])
    assert done.exit_code == terminal.USAGE


def test_a_stage_of_a_local_stack_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers at the endpoint of a local stack knows no CloudFormation."""

    def no_stack(*_: object, **__: object) -> str:
        raise ResponseParserError("invalid XML")

    monkeypatch.setattr(operate.Place, "table", no_stack)
    done = runner.invoke(main.app, ["keys", "list", "--stage", "dev", "--aws-endpoint", "http://127.0.0.1:9"])
    assert done.exit_code == terminal.AWS_FAILED
    assert "--stage" in done.output
