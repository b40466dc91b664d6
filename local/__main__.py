"""``python -m local``: the whole engine on this machine, from the template that deploys."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from order_engine.domain.numerals import NotANumeral, read_whole

if TYPE_CHECKING:
    from local.stack import Stack

_BUILD = Path(__file__).resolve().parent.parent / "build"
_LOG = _BUILD / "local.log"
_LOG_LIMIT = 20_000_000
_ORDER = '{"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1.5"}'


def _port(text: str) -> int:
    try:
        return read_whole(text, high=65_535)
    except NotANumeral as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _context_value(text: str) -> tuple[str, str]:
    from infra.tree import context_value

    return context_value(text)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    environment = os.environ
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Runs the functions that deploy to AWS on this machine, by interpreting the synthesised template.",
        epilog="Settings of the engine are taken from the environment, for example QUOTE_DELAY_MS, LANDING_MIN_MS, "
        "LANDING_MAX_MS, FAILURE_RATE, MARKET_SEED, MAX_RETRIES, RETRY_BASE_MS. "
        "MARKET=solana swaps on Solana (docs/live.md).",
    )
    port = environment.get("PORT", "8000")
    parser.add_argument("--port", type=_port, default=port, help="HTTP API, or PORT; 0 for a free one (default: 8000)")
    port = environment.get("WS_PORT", "8001")
    parser.add_argument("--ws-port", type=_port, default=port, help="WebSocket, or WS_PORT; 0 for a free one (8001)")
    port = environment.get("AWS_PORT", "0")
    parser.add_argument("--aws-port", type=_port, default=port, help="simulated AWS services, or AWS_PORT (a free one)")
    parser.add_argument(
        "--isolate",
        action="store_true",
        default=environment.get("ISOLATE", "") not in ("", "0"),
        help="run every function in worker processes of its own, as Lambda does; or ISOLATE=1",
    )
    parser.add_argument(
        "--aws-endpoint", metavar="URL", help="use services started with python -m local.aws, and what they hold"
    )
    parser.add_argument(
        "-c",
        "--context",
        action="append",
        default=[],
        type=_context_value,
        metavar="NAME=VALUE",
        help="what the deployment chooses, such as corsOrigins=https://desk.example.com (docs/deploy.md)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help=f"show the functions' logs here instead of in build/{_LOG.name}"
    )
    return parser.parse_args(given)


def _settings() -> dict[str, str]:
    """The engine's settings that the caller's environment has."""
    from order_engine.settings import names

    return {name: os.environ[name] for name in names() if os.environ.get(name)}


def _curl(url: str, key: str | None) -> str:
    headers = ["Content-Type: application/json", *([f"Authorization: Bearer {key}"] if key else [])]
    words = ["curl", "-X", "POST", f"{url}/api/orders/execute"]
    for header in headers:
        words += ["-H", header]
    return shlex.join([*words, "-d", _ORDER])


async def _run(given: argparse.Namespace, template: Mapping[str, object], out: IO[str], log: IO[str]) -> int:
    from local.console import Steps
    from local.demo import DEFAULT, DemoKeysError, demo_keys
    from local.live import NotLive, live
    from local.stack import Stack

    try:
        keys = demo_keys(os.environ.get("DEMO_KEYS") or DEFAULT)
    except DemoKeysError as error:
        print(error, file=sys.__stderr__)
        return 1
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as closing:
        # An interrupt meanwhile is heeded once the market has been looked at, which the node's timeouts bound.
        try:
            market = await closing.enter_async_context(live(_settings()))
        except NotLive as error:
            print(error, file=sys.__stderr__)
            return 1
        stack = Stack(
            template,
            market.settings,
            http_port=given.port,
            ws_port=given.ws_port,
            aws_port=given.aws_port,
            isolate=given.isolate,
            aws_endpoint=given.aws_endpoint,
            output=log,
            observe=Steps(out).observe,
        )
        return await _serve(stack, stop, given, keys, market.lines, out)


async def _serve(
    stack: Stack,
    stop: asyncio.Event,
    given: argparse.Namespace,
    keys: dict[str, str],
    lines: Sequence[str],
    out: IO[str],
) -> int:
    """Start a stack, say so, and run it until it is stopped; the exit code."""
    from local.cloud.template import TemplateError
    from local.demo import add_demo_keys
    from local.functions import HandlerMissing
    from local.stack import PortTaken, Unreachable
    from local.threads import in_thread

    try:
        starting = asyncio.create_task(stack.__aenter__())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return 0
        await starting
    except (PortTaken, Unreachable, TemplateError, HandlerMissing) as error:
        print(error, file=sys.__stderr__)
        return 1
    try:
        keyed = any("KEYS_TABLE" in own for own in stack.environments.values())
        if keyed:
            await in_thread(add_demo_keys, stack.client("dynamodb"), keys)
        where = "" if given.verbose else f" The functions' logs are in build/{_LOG.name}."
        print(f"Ready: {stack.http_url} and {stack.ws_url}, AWS services at {stack.aws_url}", file=out)
        if keyed:
            print(f"Keys:  {', '.join(f'{user} {key}' for user, key in keys.items())}", file=out)
            print(f"Desk:  {stack.http_url}/ in a browser, signed in with either key", file=out)
        for line in lines:
            print(line, file=out)
        print(f"Try:   {_curl(stack.http_url, next(iter(keys.values())) if keyed else None)}", file=out)
        print(f"Ctrl-C stops it.{where}", file=out, flush=True)
        await stop.wait()
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.8):
                await stack.__aexit__()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted; the exit code."""
    given = _arguments(arguments)
    out = sys.stdout
    # Until the event loop has its own handlers: an interrupt is no accident worth a traceback.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            from infra.synth import template

            document = template(
                _BUILD,
                lambda: print("Synthesising the stack (once; about 10 s) ...", flush=True),
                dict(given.context),
            )
        except subprocess.CalledProcessError as error:
            print(f"The template cannot be synthesised (exit code {error.returncode}).", file=sys.stderr)
            return 1
        _BUILD.mkdir(exist_ok=True)
        # Kept between runs, since several may write to it, but not for ever.
        if _LOG.exists() and _LOG.stat().st_size > _LOG_LIMIT:
            os.truncate(_LOG, 0)
        with _LOG.open("a", buffering=1, encoding="utf-8") as log:
            target = out if given.verbose else log
            # The functions' loggers write to whatever standard output is when they are imported.
            sys.stdout = target
            logging.basicConfig(stream=target, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
            for quiet in ("botocore", "asyncio", "aiohttp", "urllib3"):
                logging.getLogger(quiet).setLevel(logging.WARNING)
            code = asyncio.run(_run(given, document, out, target))
            # Handlers that still run are not worth waiting for, and the interpreter would.
            out.flush()
            target.flush()
            os._exit(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
