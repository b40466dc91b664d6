"""The page's files: compressed, named by a hash that lasts, and asked for once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_engine.domain.venues import REGISTRY
from submit import pages
from tests.support.cloud import deployed
from tests.support.http import Reply, request

GZIP = {"accept-encoding": "gzip, deflate, br"}


@pytest.fixture(autouse=True)
def _deployment() -> Iterator[None]:
    with deployed():
        yield


def get(path: str, **headers: str) -> Reply:
    return request("GET", path, headers=headers, authorizer={})


def references(page: str) -> set[str]:
    return {f"/{path.lstrip('/')}" for path in re.findall(r'(?:src|href)="(/?web/[^"]+)"', get(page).text)}


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_what_a_page_needs_lasts_and_the_page_itself_is_asked_for_every_time(page: str) -> None:
    assert get(page).headers["cache-control"] == "no-cache"
    found = references(page)
    assert len(found) >= 3
    for path in found:
        assert re.fullmatch(rf"/web/{pages.version()}/.+", path)
        reply = get(path)
        assert (reply.status, reply.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


def test_what_files_ask_for_themselves_lies_beside_them() -> None:
    """Modules and styles name their neighbours: the version is in front of all of them."""
    for name, path in pages._paths().items():
        if path.suffix not in (".js", ".css") or "vendor" in path.parts:
            continue
        text = path.read_text()
        wanted = re.findall(r'from "(\./[^"]+)"', text) + re.findall(r'url\("([^"]+)"\)', text)
        for neighbour in wanted:
            assert get(f"/web/{pages.version()}/{Path(name).parent.joinpath(neighbour)}").status == 200, (
                name,
                neighbour,
            )
        assert not re.search(r'["\'(]/?web/', text), name


def test_another_releases_file_is_served_as_it_is_now_and_not_for_ever() -> None:
    for path in ("/web/app.js", "/web/0123456789abcdef/app.js"):
        reply = get(path)
        assert (reply.status, reply.headers["cache-control"]) == (200, "no-cache")
    for path in (f"/web/{pages.version()}/nothing", f"/web/{pages.version()}", f"/web/{pages.version()}/", "/web/"):
        assert get(path).status == 404


def test_a_changed_file_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version_of(**files: str) -> str:
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        pages._paths.cache_clear()
        return pages.version.__wrapped__()

    monkeypatch.setattr(pages, "folder", lambda: tmp_path)
    try:
        first = version_of(a="1", b="2")
        assert version_of(a="1", b="2") == first
        assert version_of(a="1", b="3") != first
        assert version_of(a="12", b="") != version_of(a="1", b="2")
    finally:
        pages._paths.cache_clear()


def test_files_are_compressed_for_who_takes_that_and_not_for_others() -> None:
    plain, packed = get("/web/app.js"), get("/web/app.js", **GZIP)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.text == packed.text == (pages.folder() / "app.js").read_text()
    assert int(packed.headers["content-length"]) < 0.5 * int(plain.headers["content-length"])
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    # Two representations, two tags: a cache must not mix them.
    assert plain.headers["etag"] != packed.headers["etag"]
    for reply, headers in ((plain, {}), (packed, GZIP)):
        again = get("/web/app.js", **{**headers, "if-none-match": reply.headers["etag"]})
        assert (again.status, again.text) == (304, "")


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("", False), ("gzip", True), ("GZIP", True), ("br", False), ("*", True), ("identity", False),
        ("gzip;q=0", False), ("gzip; q=0.000", False), ("gzip;q=0.5, br", True), ("br, gzip ;q=1", True),
        ("*;q=0", False), ("gzip;q=0, *", False), ("deflate, gzip;q=1.0, *;q=0.5", True),
    ],
)  # fmt: skip
def test_gzip_is_taken_as_the_standard_says(accepted: str, taken: bool) -> None:
    assert pages._takes_gzip(accepted) is taken


@given(st.text(max_size=200))
def test_no_header_breaks_a_file(accepted: str) -> None:
    assert pages._takes_gzip(accepted) in (True, False)


def test_the_page_is_told_its_market_and_the_venues_of_the_list() -> None:
    found = re.search(r'<script id="engine" type="application/json">(.*?)</script>', get("/").text)
    assert found is not None
    told = json.loads(found[1])
    assert told["market"] == "paper"
    assert told["venues"] == [
        {"name": venue.name, "title": venue.title, "light": venue.light, "dark": venue.dark} for venue in REGISTRY
    ]


def test_what_the_page_is_told_cannot_end_its_element() -> None:
    assert b"<" not in pages._engine("</script><script>alert(1)</script>")


def test_the_desk_is_small_on_the_wire() -> None:
    """All of the first visit, without what the browser has to do with the API."""
    sizes = [int(get(path, **GZIP).headers["content-length"]) for path in ("/", *references("/"))]
    assert sum(sizes) < 80_000
