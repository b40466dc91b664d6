"""What the desk says is so, now: no refused order is placed, no old number stays, nothing is cut or out of reach."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from local import Running
from tests.web.conftest import Desk, OpenDesk

EXECUTE = "**/api/orders/execute"
TOO_MUCH = "9999999"


def fill(page: Page, amount: str) -> None:
    page.get_by_label("You pay").fill(amount)
    expect(page.locator("#ticket")).not_to_have_class(re.compile("is-waiting"))


def orders(desk: Desk) -> list[Any]:
    found: list[Any] = desk.api("GET", "/api/orders")["orders"]
    return found


# A refused quote


def test_an_order_whose_quote_was_refused_is_not_placed_and_says_why(desk: Desk) -> None:
    desk.expected_errors = ("422",)
    page = desk.page
    page.get_by_label("You pay").fill(TOO_MUCH)
    expect(page.locator("#ticket-hint")).to_contain_text("against the market price; at most")
    page.locator("#place").click()
    page.get_by_label("You pay").press("Enter")
    expect(page.locator("#ticket-note")).to_contain_text("against the market price; at most")
    expect(page.locator("#amount-out")).to_have_text("–")  # noqa: RUF001
    page.wait_for_timeout(500)
    assert orders(desk) == []
    fill(page, "1.5")
    page.locator("#place").click()
    expect(page.locator("#place")).to_have_text("Placed")


def test_an_order_is_not_placed_faster_than_its_quote_can_be_refused(desk: Desk) -> None:
    desk.expected_errors = ("422",)
    field = desk.page.get_by_label("You pay")
    field.fill(TOO_MUCH)
    field.press("Enter")
    expect(desk.page.locator("#ticket-error")).to_contain_text("against the market price; at most")
    assert orders(desk) == []


def test_a_limit_order_may_rest_where_the_market_cannot_fill_it_now(desk: Desk) -> None:
    desk.expected_errors = ("422",)
    page = desk.page
    page.get_by_role("radio", name="Limit", exact=True).check()
    page.get_by_label("You pay").fill(TOO_MUCH)
    page.get_by_label("Limit price").fill("165")
    expect(page.locator("#ticket-hint")).to_contain_text("It would rest: The best route")
    page.locator("#place").click()
    expect(desk.only_row()).to_have_attribute("data-status", "open")


# The ticket's numbers and warnings


def test_the_limit_ticket_shows_limit_numbers(desk: Desk) -> None:
    page = desk.page
    page.get_by_role("radio", name="Limit", exact=True).check()
    fill(page, "1.5")
    page.get_by_label("Limit price").fill("165")
    expect(page.locator("#minimum")).to_have_text("247.5000 USDC")
    expect(page.locator("#amount-out-label")).to_have_text("You get at least")
    expect(page.locator("#amount-out")).to_have_text("247.5000")
    page.locator("#place").click()
    row = desk.only_row()
    expect(row).to_contain_text("limit 165")
    page.get_by_role("radio", name="Market", exact=True).check()
    expect(page.locator("#minimum")).not_to_contain_text("247.5")


def test_a_danger_has_to_be_accepted_before_the_order_is_placed(desk: Desk) -> None:
    page = desk.page
    fill(page, "1.5")
    page.get_by_role("radio", name="Own", exact=True).check()
    page.get_by_label("Slippage tolerance in percent").fill("40")
    expect(page.locator("#ticket-warnings")).to_contain_text("Slippage of 40 %: you may receive as little as")
    page.locator("#place").click()
    expect(page.locator("#accept-risk")).to_be_focused()
    page.wait_for_timeout(300)
    assert orders(desk) == []
    page.get_by_role("checkbox", name="Place it all the same").check()
    page.locator("#place").click()
    expect(page.locator("#place")).to_have_text("Placed")
    assert [order["slippageBps"] for order in orders(desk)] == [4000]


def test_fees_above_the_output_are_not_shown_as_if_all_were_well(desk: Desk) -> None:
    page = desk.page
    page.get_by_label("Token to pay with").select_option("BONK")
    fill(page, "1")
    expect(page.locator("#ticket-warnings .danger")).to_contain_text("The network fee")
    expect(page.locator("#quotes .chosen td").first).to_have_class("bad")
    expect(page.locator("#quotes .ok")).to_have_count(0)
    expect(page.locator("#quote-reason")).to_be_empty()
    expect(page.locator("#price")).to_have_text(re.compile(r"^0\.0000\d{6} USDC per BONK$"))
    page.locator("#place").click()
    page.wait_for_timeout(300)
    assert orders(desk) == []


def test_the_ticket_stays_where_it_is_while_somebody_types(desk: Desk) -> None:
    page = desk.page
    expect(page.locator("#quotes table")).to_be_visible()
    # Whether it was moved by a keystroke or by the answer to it, any move within the next second is seen.
    page.evaluate("""() => {
        const button = document.getElementById("place");
        window.tops = new Set();
        const look = () => {
            window.tops.add(Math.round(button.getBoundingClientRect().top));
            window.heights.add(document.getElementById("market").offsetHeight > 150);
            requestAnimationFrame(look);
        };
        window.heights = new Set();
        look();
    }""")
    field = page.get_by_label("You pay")
    field.fill("")
    for digit in "1234.56":
        field.press(digit)
        page.wait_for_timeout(120)
    expect(page.locator("#ticket")).not_to_have_class(re.compile("is-waiting"))
    page.wait_for_timeout(700)
    assert len(page.evaluate("[...window.tops]")) == 1
    field.fill("2.25")
    page.evaluate("window.heights.clear()")
    for digit in "1234":
        field.press(digit)
        page.wait_for_timeout(120)
    # The venues' table does not collapse either.
    assert page.evaluate("[...window.heights]") == [True]


def test_a_number_that_cannot_be_read_is_explained_while_it_is_typed(desk: Desk) -> None:
    desk.page.get_by_label("You pay").fill("1,5")
    expect(desk.page.locator("#ticket-hint")).to_have_text("Write 1,5 with a point: 1.5")


# Lists, counts and totals


def short_pages(page: Page, limit: int) -> None:
    """Let the API answer shorter pages than the desk asks for."""

    def handle(route: Route, request: Request) -> None:
        parts = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        route.continue_(url=parts._replace(query=urlencode({**query, "limit": str(limit)})).geturl())

    page.route(re.compile(r"/api/orders\?"), handle)


def settled(desk: Desk, order_id: str) -> None:
    deadline = time.monotonic() + 20
    while desk.api("GET", f"/api/orders/{order_id}")["status"] not in ("confirmed", "failed", "open"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def counted(desk: Desk, count: int) -> None:
    deadline = time.monotonic() + 20
    while sum(desk.api("GET", "/api/stats")["byStatus"].values()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_filter_counts_and_shows_orders_that_are_not_on_the_page_yet(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack, sign_in=False)
    page = desk.page
    withdrawn = desk.place(type="limit", limitPrice="100000")
    desk.api("DELETE", f"/api/orders/{withdrawn}")
    placed = [desk.place(amountIn=f"0.1{number}") for number in range(1, 9)]
    for order_id in placed:
        settled(desk, order_id)
    counted(desk, 9)
    short_pages(page, 3)
    desk.sign_in()
    expect(page.locator("tbody.order:visible")).to_have_count(3)
    expect(page.locator("#count-all")).to_have_text("9")
    expect(page.locator("#count-confirmed")).to_have_text("8")
    expect(page.locator("#count-withdrawn")).to_have_text("1")
    show = page.get_by_role("group", name="Show")
    show.get_by_role("radio", name="Withdrawn 1").check()
    expect(desk.row(withdrawn)).to_be_visible()
    expect(page.get_by_role("button", name="Load older orders")).to_be_hidden()
    # Back among all of them it waits for its turn: there is no gap before it.
    show.get_by_role("radio", name="All 9").check()
    expect(page.locator("tbody.order:visible")).to_have_count(3)
    for count in (6, 9):
        page.get_by_role("button", name="Load older orders").click()
        expect(page.locator("tbody.order:visible")).to_have_count(count)
    expect(page.get_by_role("button", name="Load older orders")).to_be_hidden()
    created = page.locator("tbody.order").evaluate_all("(rows) => rows.map((row) => row.dataset.order)")
    assert created == [*reversed(placed), withdrawn]
    show.get_by_role("radio", name="Failed 0").check()
    expect(page.get_by_text("No order in this view.")).to_be_visible()


def test_a_new_order_is_counted_at_once(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack, sign_in=False)
    for order_id in [desk.place(amountIn=f"0.2{number}") for number in range(1, 6)]:
        settled(desk, order_id)
    counted(desk, 5)
    short_pages(desk.page, 2)
    desk.sign_in()
    expect(desk.page.locator("#count-all")).to_have_text("5")
    desk.place(type="limit", limitPrice="100000")
    expect(desk.page.locator("#count-open")).to_have_text("1")
    expect(desk.page.locator("#count-all")).to_have_text("6")


def test_a_desk_without_orders_says_so(desk: Desk) -> None:
    expect(desk.page.get_by_text("No orders yet. Place one, or run the demonstration.")).to_be_visible()
    desk.place()
    expect(desk.page.get_by_text("No orders yet.")).to_be_hidden()


def test_orders_from_a_gap_in_the_stream_are_all_there_after_it(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack, expected_errors=("ERR_FAILED",))
    page = desk.page
    first = desk.place(amountIn="0.31")
    expect(desk.row(first)).to_have_attribute("data-status", "confirmed")
    page.route("**/api/stream-tickets", lambda route: route.abort())
    desk.cut_sockets()
    expect(page.locator("#stream-text")).to_have_text(re.compile("Reconnecting"))
    missed = [desk.place(amountIn=f"0.4{number}") for number in range(1, 9)]
    for order_id in missed:
        settled(desk, order_id)
    short_pages(page, 2)
    page.unroute("**/api/stream-tickets")
    page.get_by_role("button", name="Try now").click()
    for order_id in [first, *missed]:
        expect(desk.row(order_id)).to_be_visible()


def test_the_tiles_say_what_their_numbers_are_of(desk: Desk) -> None:
    page = desk.page
    page.get_by_role("button", name="Run orders").click()
    expect(page.locator("#success-span")).to_have_text("last 5", timeout=60_000)
    expect(page.locator("#latency-span")).to_have_text("last 5")
    expect(page.locator("#success-all")).to_have_text("all time: 100 % of 5")
    expect(page.locator("#latency-all")).to_have_text(re.compile(r"^all time: p99 ≤ [\d.]+ m?s$"))
    latencies = sorted(latency_ms(order) for order in orders(desk))
    expect(page.locator("#latency-value")).to_have_text(said(latencies[2]))
    expect(page.locator("#latency-note")).to_have_text(f"p90 {said(latencies[4])} · slowest {said(latencies[4])}")


def latency_ms(order: Any) -> int:
    from order_engine.wire.times import from_text

    return from_text(order["updatedAt"], field="") - from_text(order["createdAt"], field="")


def said(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def test_an_open_timeline_goes_on_with_time(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack)
    order_id = desk.place(type="limit", limitPrice="100000")
    panel = desk.open_row(order_id)
    total = panel.locator(".timeline .in-all")
    expect(total).to_have_text(re.compile(r"^\d+\.\d\d s$"))
    first = float(str(total.text_content()).removesuffix(" s"))
    desk.page.wait_for_timeout(1_500)
    shown = "row => ['.timeline .in-all', '.spent'].map((css) => row.querySelector(css).textContent)"
    [after, spent] = panel.evaluate(shown)
    assert float(after.removesuffix(" s")) >= first + 1
    assert after == spent


# Errors that are over


def test_what_was_said_of_an_engine_out_of_reach_goes_when_it_is_back(desk: Desk) -> None:
    desk.expected_errors = ("ERR_FAILED",)
    page = desk.page
    expect(page.locator("#quotes table")).to_be_visible()
    page.route("**/api/**", lambda route: route.abort())
    desk.cut_sockets()
    expect(page.locator("#quote-state")).to_have_text("The engine cannot be reached.")
    page.locator("#place").click()
    expect(page.locator("#place")).to_have_text("Send again")
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#stream")).to_have_attribute("data-state", "connected")
    expect(page.locator("#quote-state")).to_have_text(re.compile(r"just now|\d s ago"))
    expect(page.get_by_text("The engine cannot be reached.")).to_have_count(0)
    page.locator("#place").click()
    expect(page.locator("#place")).to_have_text("Placed")
    assert len(orders(desk)) == 1


def test_a_key_that_could_not_be_tried_is_not_blamed_for_ever(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack, sign_in=False, expected_errors=("ERR_FAILED",))
    page = desk.page
    page.goto(stack.http_url)
    for path in ("**/api/**", "**/health"):
        page.route(path, lambda route: route.abort())
    page.get_by_role("textbox", name="API key").fill(desk.key)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#key-error")).to_have_text("The engine cannot be reached.")
    for path in ("**/api/**", "**/health"):
        page.unroute(path)
    expect(page.locator("#key-error")).to_be_empty()


# Within reach, and whole


def test_an_order_is_opened_by_tabbing_to_it(desk: Desk) -> None:
    page = desk.page
    order_id = desk.place()
    expect(desk.row(order_id)).to_have_attribute("data-status", "confirmed")
    page.locator("#demo-count").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(desk.row(order_id).locator(".chevron")).to_be_focused()
    page.keyboard.press("Enter")
    expect(desk.row(order_id).locator(".panel-detail")).to_be_visible()
    page.keyboard.press("Space")
    expect(desk.row(order_id).locator(".panel-detail")).to_be_hidden()


CUT = """() => {
    const bad = [];
    const skip = ".hidden, .skip, option, noscript, dialog, .views, .ticket .market, svg";
    for (const node of document.querySelectorAll("main *, .top *, .views *")) {
        if (node.closest(".hidden, option, noscript, svg") || !node.checkVisibility()) continue;
        const box = node.getBoundingClientRect();
        const text = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!text || box.width === 0) continue;
        const name = `${node.tagName}.${node.className} “${node.textContent.trim().slice(0, 40)}”`;
        if (box.right > document.documentElement.clientWidth + 0.5) bad.push(`${name} leaves the screen`);
        const style = getComputedStyle(node);
        const hides = style.overflowX !== "visible" && node.tagName !== "INPUT";
        if (hides && node.scrollWidth > node.clientWidth + 1) bad.push(`${name} is cut`);
        // The text itself may be wider than its cell, and lie over the next one.
        const range = document.createRange();
        range.selectNodeContents(node);
        const cell = node.closest("td, th, .segment, .tile, button, label");
        if (cell && range.getBoundingClientRect().right > cell.getBoundingClientRect().right + 1.5)
            bad.push(`${name} runs out of its cell`);
    }
    return bad;
}"""


@pytest.mark.parametrize("width", [1920, 1440, 1366, 1280, 1181, 1024, 861, 768, 390, 360, 320])
def test_nothing_is_cut_at_any_width(stack: Running, open_desk: OpenDesk, width: int) -> None:
    desk = open_desk(stack, viewport={"width": width, "height": 900})
    page = desk.page
    done = [
        desk.place(tokenIn="USDC", tokenOut="BONK", amountIn="15000"),
        desk.place(tokenIn="BONK", tokenOut="USDC", amountIn="98765432.12345"),
        desk.place(tokenIn="SOL", tokenOut="JUP", amountIn="400"),
        desk.place(tokenIn="BONK", tokenOut="USDC", amountIn="1"),
    ]
    desk.place(type="limit", limitPrice="123456.789", amountIn="1234.56789", expiresAt=tomorrow())
    views: list[str | None] = ["Trade", "Orders", "Performance"] if width <= 860 else [None]
    for view in views:
        if view:
            page.get_by_role("navigation").get_by_role("button", name=view).click()
        if view in (None, "Trade"):
            page.get_by_label("Token to pay with").select_option("USDC")
            page.get_by_label("Token to receive").select_option("BONK")
            fill(page, "98765.432101")
            assert page.evaluate(CUT) == []
        if view in (None, "Orders"):
            for order_id in done:
                expect(desk.row(order_id)).to_have_attribute("data-status", "confirmed", timeout=60_000)
            desk.open_row(done[2])
        assert page.evaluate(CUT) == [], view
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def tomorrow() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))


def background(of: Locator) -> str:
    return str(of.evaluate("(node) => getComputedStyle(node).backgroundColor"))


def test_forced_colours_show_what_is_chosen_and_how_far_an_order_is(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack, forced_colors="active")
    page = desk.page
    order_id = desk.place()
    resting = desk.place(type="limit", limitPrice="100000")
    row = desk.row(order_id)
    expect(row).to_have_attribute("data-status", "confirmed")
    for group in ("Order type", "Max. slippage", "Show"):
        options = page.get_by_role("group", name=group)
        chosen = options.locator("input:checked + span").first
        other = options.locator("input:not(:checked) + span").first
        assert background(chosen) != background(other), group
    assert background(row.locator(".segment i").first) != background(desk.row(resting).locator(".segment i").nth(1))
    assert background(row.locator(".venue")) is not None
    border = "(node) => getComputedStyle(node).borderTopStyle"
    assert page.locator("#place").evaluate(border) == "solid"


def test_the_stage_of_real_orders_has_no_demonstration(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack, sign_in=False)
    desk.page.route("**/health", lambda route: route.fulfill(json={"status": "ok", "stage": "prod"}))
    desk.sign_in()
    expect(desk.page.locator("#stage")).to_have_text("prod")
    expect(desk.page.locator("#demo")).to_be_hidden()


def test_a_wrong_clock_of_the_visitor_changes_no_duration(stack: Running, open_desk: OpenDesk) -> None:
    desk = open_desk(stack, sign_in=False)
    desk.page.add_init_script("const real = Date.now; Date.now = () => real() - 90_000;")
    desk.sign_in()
    expect(desk.page.locator("#quotes table")).to_be_visible()
    order_id = desk.place(type="limit", limitPrice="100000")
    expect(desk.row(order_id).locator(".segment span").first).to_have_text(re.compile(r"^[1-4]\.\d\d s$"))


def test_an_order_from_elsewhere_is_announced_by_what_it_is(desk: Desk) -> None:
    """Not before it has been described: an announcement names no “null”."""
    desk.page.evaluate("""() => {
        window.said = [];
        const node = document.getElementById("announcer");
        new MutationObserver(() => window.said.push(node.textContent)).observe(node, { childList: true });
    }""")
    for _ in range(3):
        desk.place(amountIn="0.77")
    expect(desk.page.locator("#count-confirmed")).to_have_text("3")
    desk.page.wait_for_timeout(1000)
    told = json.dumps(desk.page.evaluate("window.said"))
    assert "null" not in told
    assert "confirmed" in told
