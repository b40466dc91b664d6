"""The drawings of the documentation, as a browser shows them: no text leaves its picture or lies on another."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from bench.charts import bars, charts

TEXTS = """() => [...document.querySelectorAll("svg text")].map((node) => {
    const { x, y, width, height } = node.getBBox();
    return { text: node.textContent, x, y, right: x + width, bottom: y + height };
})"""

SIZE = """() => {
    const { width, height } = document.querySelector("svg").viewBox.baseVal;
    return [width, height];
}"""


def texts(browser: Browser, drawing: str) -> tuple[list[dict[str, Any]], float, float]:
    page = browser.new_page()
    page.set_content(drawing)
    width, height = page.evaluate(
        "(({ width, height }) => [width, height])(document.querySelector('svg').viewBox.baseVal)"
    )
    found = page.evaluate(TEXTS)
    page.close()
    return found, width, height


def check(browser: Browser, drawing: str) -> None:
    found, width, height = texts(browser, drawing)
    assert len(found) > 2
    for each in found:
        assert 0 <= each["x"] <= each["right"] <= width, each
        assert 0 <= each["y"] <= each["bottom"] <= height, each
    for at, one in enumerate(found):
        for other in found[at + 1 :]:
            apart = one["right"] <= other["x"] or other["right"] <= one["x"]
            assert apart or one["bottom"] <= other["y"] + 2 or other["bottom"] <= one["y"] + 2, (one, other)


@pytest.mark.parametrize("name", sorted(charts()))
def test_a_recorded_chart_is_whole(browser: Browser, name: str) -> None:
    check(browser, charts()[name])


def test_long_names_and_units_have_room(browser: Browser) -> None:
    rows = {f"A case with a rather long name, number {n}": {"a long part": 3.0 * n, "another": 1.0} for n in (1, 2, 3)}
    check(browser, bars("A chart", rows, "orders a minute", mark=12))
