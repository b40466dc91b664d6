"""The order desk: static files of ``web/``, served with a strict Content-Security-Policy."""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def folder() -> Path:
    """``web/`` lies beside the function's package on Lambda, and at the root of the source tree."""
    here = Path(__file__).resolve()
    return next(path for path in (here.parents[1] / "web", here.parents[2] / "web") if path.is_dir())


@cache
def _files() -> dict[str, Path]:
    """What may be served: read once, so that no request ever names a path of the file system."""
    return {path.relative_to(folder()).as_posix(): path for path in folder().rglob("*") if path.is_file()}


def install(app: FastAPI) -> None:
    """Serve the page at / and its files under /web/."""

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return _serve("index.html")

    @app.get("/web/{name:path}", include_in_schema=False)
    async def file(name: str) -> Response:
        return _serve(name)


def _serve(name: str) -> Response:
    from starlette.exceptions import HTTPException

    path = _files().get(name)
    if path is None:
        raise HTTPException(404)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(path.read_bytes(), media_type=kind, headers=_HEADERS)
