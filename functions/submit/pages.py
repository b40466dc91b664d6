"""The order desk: static files of ``web/``, served with a strict Content-Security-Policy.

The two pages are asked for every time. What they need is named by a hash of all files, so that a browser asks once for
each release: /web/<version>/app.js. Without the version, or with another release's, a file is served as it is now.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from order_engine.domain.venues import REGISTRY
from submit.served import engine_of

DOCS = "docs.html"
# What the bundle has compressed already lies beside the file.
PACKED = ".gz"
_VERSION = re.compile(r"[0-9a-f]{16}")
# Where the page finds what belongs to this engine. No browser takes it for script.
_ENGINE = b'<script id="engine" type="application/json">'
_REFERENCE = re.compile(rb'\b(src|href)="(/?)web/')
_YEAR_S = 31_536_000


@dataclass(frozen=True, slots=True)
class _File:
    """A file; ``packed`` is it compressed, or None where that is no gain."""

    content: bytes
    packed: bytes | None
    media_type: str
    etag: str


@cache
def folder() -> Path:
    """``web/`` lies beside the function's package on Lambda, and at the root of the source tree."""
    here = Path(__file__).resolve()
    return next(path for path in (here.parents[1] / "web", here.parents[2] / "web") if path.is_dir())


def compress(content: bytes) -> bytes | None:
    """The content compressed, the same bytes every time; None where that is no gain."""
    packed = gzip.compress(content, 9, mtime=0)
    return packed if len(packed) < 0.9 * len(content) else None


@cache
def _paths() -> dict[str, Path]:
    """What may be served: listed once, so that no request ever names a path of the file system."""
    found = (path for path in folder().rglob("*") if path.is_file() and path.suffix != PACKED)
    return {path.relative_to(folder()).as_posix(): path for path in found}


@cache
def version() -> str:
    """A hash of all files: another release is another version."""
    digest = hashlib.sha256()
    for name, path in sorted(_paths().items()):
        digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _engine(market: str) -> bytes:
    """What the page has to know of the engine before it asks anything, as JSON that cannot end its element."""
    venues = [{"name": one.name, "title": one.title, "light": one.light, "dark": one.dark} for one in REGISTRY]
    return json.dumps({"market": market, "venues": venues}).replace("<", "\\u003c").encode()


@cache
def _file(name: str, market: str) -> _File | None:
    path = _paths().get(name)
    if path is None:
        return None
    content, ready = path.read_bytes(), path.with_name(path.name + PACKED)
    if path.suffix == ".html":
        content = _REFERENCE.sub(rb'\1="\2web/' + version().encode() + b"/", content)
        content = content.replace(_ENGINE, _ENGINE + _engine(market))
    packed = ready.read_bytes() if ready.is_file() else compress(content)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _File(content, packed, media_type, hashlib.sha256(content).hexdigest()[:32])


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
def _headers(websocket_url: str, page: str = "") -> dict[str, str]:
    """The page may load its own files, and talk to its own API and to the one WebSocket."""
    socket = urlsplit(websocket_url)
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
        "Vary": "Accept-Encoding",
    }


type IfNoneMatch = Annotated[str | None, Header()]
type AcceptEncoding = Annotated[str, Header()]


def install(app: FastAPI) -> None:
    """Serve the page at /, the API's description at /docs, their files under /web/, and the stream's description."""

    @app.get("/", include_in_schema=False)
    async def index(
        request: Request, if_none_match: IfNoneMatch = None, accept_encoding: AcceptEncoding = ""
    ) -> Response:
        return _serve(request, "index.html", if_none_match, accept_encoding)

    @app.get("/docs", include_in_schema=False)
    async def docs(
        request: Request, if_none_match: IfNoneMatch = None, accept_encoding: AcceptEncoding = ""
    ) -> Response:
        return _serve(request, DOCS, if_none_match, accept_encoding)

    @app.get("/asyncapi.json", include_in_schema=False)
    async def stream() -> Response:
        # Made when somebody asks: a cold start pays nothing for it.
        from submit.stream_document import document

        return JSONResponse(document())

    @app.get("/web/{name:path}", include_in_schema=False)
    async def file(
        request: Request, name: str, if_none_match: IfNoneMatch = None, accept_encoding: AcceptEncoding = ""
    ) -> Response:
        named, _, rest = name.partition("/")
        if _VERSION.fullmatch(named):
            return _serve(request, rest, if_none_match, accept_encoding, lasting=named == version())
        return _serve(request, name, if_none_match, accept_encoding)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding takes gzip (RFC 9110, section 12.5.3)."""
    weights = {}
    for part in accepted.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";q=")
        weights[coding] = weight
    return re.fullmatch(r"0(\.0*)?", weights.get("gzip", weights.get("*", "0"))) is None


def _serve(request: Request, name: str, known: str | None, accepted: str, *, lasting: bool = False) -> Response:
    """A file. ``lasting``: its address is this content's, and never another's."""
    settings = engine_of(request).settings
    # Only what is written for this engine differs between two.
    found = _file(name, settings.market if name.endswith(".html") else "")
    if found is None:
        raise HTTPException(404)
    packed = found.packed if found.packed is not None and _takes_gzip(accepted) else None
    etag = f'"{found.etag}-gzip"' if packed is not None else f'"{found.etag}"'
    headers = {
        **_headers(settings.resources.websocket_url, name if name == DOCS else ""),
        # A page is asked for every time, and sent only when it has changed.
        "Cache-Control": f"public, max-age={_YEAR_S}, immutable" if lasting else "no-cache",
        "ETag": etag,
    }
    if known is not None and etag in known:
        return Response(status_code=304, headers=headers)
    if packed is not None:
        headers["Content-Encoding"] = "gzip"
    return Response(found.content if packed is None else packed, media_type=found.media_type, headers=headers)
