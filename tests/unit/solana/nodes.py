"""Nodes that answer as they are told, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Status, body, headers.
type Said = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]
type Answer = Callable[[dict[str, Any]], Said]


def result(value: object) -> Answer:
    """A proper answer."""
    return lambda asked: (200, json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": value}).encode())


def refusal(code: int, message: str, data: object = None) -> Answer:
    """A proper error."""
    error = {"code": code, "message": message, "data": data}
    return lambda asked: (200, json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode())


def raw(status: int, body: bytes, **headers: str) -> Answer:
    """Anything else. Headers by their names with underscores."""
    return lambda _: (status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other; the last one from then on."""
    left = list(answers)
    return lambda asked: (left.pop(0) if len(left) > 1 else left[0])(asked)


def late(seconds: float, then: Answer) -> Answer:
    def answer(asked: dict[str, Any]) -> Said:
        time.sleep(seconds)
        return then(asked)

    return answer


@dataclass
class ToldNode:
    """Its address, what it was asked, and what it answers to everything."""

    url: str
    answer: Answer
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def told_node(answer: Answer) -> Iterator[ToldNode]:
    """A node on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            node.asked.append(asked)
            status, body, *headers = node.answer(asked)
            self.send_response(status)
            for name, value in headers[0].items() if headers else ():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    node = ToldNode(f"http://127.0.0.1:{server.server_port}/?api-key=very-secret", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
