"""The one catalogue of refusals: errors, answers, the stream's description and the documentation follow it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import notify.socket  # noqa: F401 - all kinds of errors are to be known here
import submit.app
import submit.authorizer  # noqa: F401
from cli.errors import ApiError
from order_engine.domain import errors
from order_engine.domain.failures import CATALOGUE
from order_engine.domain.refusals import REFUSALS, status_of
from submit.problems import Problem, of_engine
from submit.statuses import STATUSES
from tests.unit.asyncapi import document

ROOT = Path(__file__).resolve().parents[2]


def kinds(kind: type[errors.EngineError]) -> set[type[errors.EngineError]]:
    return {kind}.union(*(kinds(below) for below in kind.__subclasses__()))


def arguments(folder: str, function: str, place: int) -> set[str]:
    """The texts that calls of a function are given at a place."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or len(node.args) <= place:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = node.args[place]
            if name == function and isinstance(given, ast.Constant):
                found.add(str(given.value))
    return found


def test_invalid_input_is_422_whatever_it_is_called() -> None:
    for kind in kinds(errors.InvalidInput):
        assert status_of(kind.code) == 422, kind


def test_every_code_that_the_edges_write_is_in_the_catalogue() -> None:
    written = arguments("functions/submit", "Problem", 0)
    assert {"body_too_large", "invalid_request", "unavailable"} <= written <= set(REFUSALS)
    told = arguments("functions/notify", "_refuse", 2)
    assert {"invalid_message", "forbidden", "too_many_orders"} <= told
    assert all(REFUSALS[code].socket for code in told)


def test_every_status_of_the_catalogue_can_be_answered() -> None:
    for code, known in REFUSALS.items():
        assert re.fullmatch("[a-z][a-z_]*", code)
        if known.status is not None:
            assert Problem(code, "Because.").response().status_code == known.status
            assert STATUSES[known.status].title
        assert known.socket or known.status is not None
        assert known.passes or known.retry_after_s is None
    assert {STATUSES[status].example for status in STATUSES} - {""} <= set(REFUSALS)


def test_an_error_that_the_catalogue_does_not_know_is_the_services_own() -> None:
    assert of_engine(errors.IllegalTransition("No.")).status == 500


def test_a_quote_is_refused_with_the_code_that_the_order_would_fail_with() -> None:
    for kind in (errors.NoRoute, errors.PriceImpactTooHigh, errors.VenuesUnavailable):
        assert REFUSALS[kind.code].cause == CATALOGUE[kind.code].meaning
    assert of_engine(errors.VenuesUnavailable("Late.")).headers == {"Retry-After": "2"}
    assert of_engine(errors.TooNew("order", 3, 2)).headers == {"Retry-After": "10"}


def test_the_command_line_tries_again_what_may_pass() -> None:
    assert ApiError(0, "newer_release", "").passing
    assert ApiError(409, "too_many_open_orders", "").passing
    assert not ApiError(404, "order_not_found", "").passing
    # What gateways in front of the engine answer, and later releases.
    assert ApiError(503, "http_503", "").passing
    assert not ApiError(418, "of_a_later_release", "").passing


def test_the_streams_description_lists_the_codes_of_sockets() -> None:
    listed = document()["components"]["schemas"]["Error"]["properties"]["code"]["enum"]
    assert set(listed) == {code for code, known in REFUSALS.items() if known.socket}


def test_the_documentation_has_the_catalogue_whole() -> None:
    page = (ROOT / "docs/api.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+|-) \| (.*?) \| (.*?) \| (yes|no) \| (yes|no) \|$", page, re.MULTILINE)
    said = {True: "yes", False: "no"}
    assert rows == [
        (code, str(known.status or "-"), known.cause, known.remedy, said[known.passes], said[known.socket])
        for code, known in REFUSALS.items()
    ]
