"""The simulated services over HTTP, for other processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from local.cloud.services import Services
from local.discreet import keep_requests_out_of_logs
from local.threads import in_thread
from order_engine.domain.numerals import NotANumeral, read_decimal, read_whole

_MAX_BODY = 32 * 1024 * 1024


def application(services: Services, reports: Mapping[str, Callable[[], object]]) -> web.Application:
    """The services over HTTP: POST / as AWS's endpoints, GET /changes for readers of streams, and JSON reports."""

    async def call(request: web.Request) -> web.Response:
        body = await request.read()
        headers = dict(request.headers)
        answer = await _abandonable(
            services, lambda gone: services.answer(request.headers.get("X-Amz-Target", ""), headers, body, gone)
        )
        return web.Response(status=answer.status, headers=_forwarded(answer.headers), body=answer.body)

    async def changes(request: web.Request) -> web.Response:
        try:
            after = read_whole(request.query.get("after", "-1"), low=-1, high=10**15)
            wait_s = float(read_decimal(request.query.get("wait", "0")))
        except NotANumeral as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        version = await _abandonable(services, lambda gone: services.changes(after, wait_s, gone))
        return web.json_response({"version": version})

    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_get("/changes", changes)
    for path, report in reports.items():
        app.router.add_get(path, _reporting(report))
    app.router.add_post("/{path:.*}", call)
    return app


def _reporting(report: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(report())

    return answer


async def _abandonable[T](services: Services, work: Callable[[Callable[[], bool]], T]) -> T:
    """Run a call that may wait; if its client goes away meanwhile, the wait ends and takes nothing."""
    gone = threading.Event()
    try:
        return await in_thread(work, gone.is_set)
    except asyncio.CancelledError:
        gone.set()
        services.release_waiters()
        raise


def _forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    own = {"content-length", "transfer-encoding", "date", "server"}
    return {name: value for name, value in headers.items() if name.lower() not in own}


async def serve(
    services: Services, port: int, reports: Mapping[str, Callable[[], object]] | None = None
) -> tuple[web.AppRunner, str]:
    """Serve the services on 127.0.0.1; returns the runner to clean up and the address.

    Args:
        reports: what GET answers besides, by path.

    Raises:
        OSError: the port is taken.
    """
    app = application(services, reports or {})
    keep_requests_out_of_logs()
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"
