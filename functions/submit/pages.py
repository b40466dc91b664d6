"""The order desk: static files of ``web/``, served with a strict Content-Security-Policy."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import FastAPI, Header
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from order_engine import bootstrap

DOCS = "docs.html"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@cache
def folder() -> Path:
    """``web/`` lies beside the function's package on Lambda, and at the root of the source tree."""
    here = Path(__file__).resolve()
    return next(path for path in (here.parents[1] / "web", here.parents[2] / "web") if path.is_dir())


def _read(path: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@cache
def _files() -> dict[str, _File]:
    """What may be served: read once, so that no request ever names a path of the file system."""
    return {path.relative_to(folder()).as_posix(): _read(path) for path in folder().rglob("*") if path.is_file()}


# The API's description is shown by a library that draws icons from data URLs, sets styles on elements, and writes
# HTML that it has cleaned. Its page has no other rights, and the desk has none of these.
_SWAGGER_UI = {
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "require-trusted-types-for": None,
    "trusted-types": None,
}


@cache
def _headers(page: str = "") -> dict[str, str]:
    """The page may load its own files, and talk to its own API and to the one WebSocket."""
    socket = urlsplit(bootstrap.settings().websocket_url)
    policy: dict[str, str | None] = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' {socket.scheme}://{socket.netloc}" if socket.netloc else "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        # No text can become HTML or script, whatever the page's own code does.
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    if page == DOCS:
        policy |= _SWAGGER_UI
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items() if value),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Files are asked for every time and sent only when they have changed.
        "Cache-Control": "no-cache",
    }


type IfNoneMatch = Annotated[str | None, Header()]


def install(app: FastAPI) -> None:
    """Serve the page at /, the API's description at /docs, and their files under /web/."""

    @app.get("/", include_in_schema=False)
    async def index(if_none_match: IfNoneMatch = None) -> Response:
        return _serve("index.html", if_none_match)

    @app.get("/docs", include_in_schema=False)
    async def docs(if_none_match: IfNoneMatch = None) -> Response:
        return _serve(DOCS, if_none_match)

    @app.get("/web/{name:path}", include_in_schema=False)
    async def file(name: str, if_none_match: IfNoneMatch = None) -> Response:
        return _serve(name, if_none_match)


def _serve(name: str, known: str | None) -> Response:
    found = _files().get(name)
    if found is None:
        raise HTTPException(404)
    headers = {**_headers(name if name == DOCS else ""), "ETag": found.etag}
    if known is not None and found.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
