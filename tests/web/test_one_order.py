"""One intent, one order: whatever fingers and networks do, a filled-in ticket is placed once until asked for again.

In a real browser with a real pointer and keyboard, against the real stack, counted by what the API lists.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Request, Route, expect

from local import Running
from tests.web.conftest import Desk, OpenDesk

GAPS_MS = [20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 165, 180, 195, 210, 230, 250]
EXECUTE = "**/api/orders/execute"

type Answering = Callable[[Route], None]


def fill(page: Page, amount: str) -> None:
    """Fill in another amount, and wait until its quote is there."""
    page.get_by_label("You pay").fill(amount)
    expect(page.locator("#ticket")).not_to_have_class(re.compile("is-waiting"))


def click_at(page: Page, gaps_ms: list[int]) -> None:
    """Press the real button where the primary button was, again after each gap, wherever the page has moved it."""
    page.locator("#place").scroll_into_view_if_needed()
    box = page.locator("#place").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(x, y)
    for gap in gaps_ms:
        page.wait_for_timeout(gap)
        page.mouse.click(x, y)


def placed(desk: Desk) -> Counter[str]:
    """How many orders there are for each amount."""
    found: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        page = desk.api("GET", "/api/orders", params={"limit": 100, **({"cursor": cursor} if cursor else {})})
        found.update(order["amountIn"] for order in page["orders"])
        cursor = page.get("nextCursor")
        if cursor is None:
            return found


def said(page: Page, text: str) -> None:
    expect(page.locator("#place")).to_have_text(text)


def test_twenty_double_clicks_place_twenty_orders(desk: Desk) -> None:
    page = desk.page
    amounts = [f"1.{gap:03d}1" for gap in GAPS_MS]
    for gap, amount in zip(GAPS_MS, amounts, strict=True):
        fill(page, amount)
        click_at(page, [gap])
        said(page, "Placed")
    assert placed(desk) == dict.fromkeys(amounts, 1)


@pytest.mark.parametrize("times", [2, 3, 8])
@pytest.mark.parametrize("gap_ms", [0, 60, 300])
def test_enter_pressed_several_times_places_one_order(desk: Desk, times: int, gap_ms: int) -> None:
    page = desk.page
    field = page.get_by_label("You pay")
    field.fill("2.5")
    for _ in range(times):
        field.press("Enter", no_wait_after=True)
        page.wait_for_timeout(gap_ms)
    said(page, "Placed")
    page.locator("#place").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    page.wait_for_timeout(500)
    assert placed(desk) == {"2.5": 1}


def test_the_same_is_placed_once_more_only_when_it_is_asked_for(desk: Desk) -> None:
    page = desk.page
    fill(page, "1.25")
    click_at(page, [])
    said(page, "Placed")
    # Another way to write the same amount is no other order; neither is a change that is taken back.
    page.get_by_label("You pay").fill("1.250")
    said(page, "Placed")
    fill(page, "3")
    fill(page, "1.25")
    click_at(page, [100, 400])
    assert placed(desk) == {"1.25": 1}
    # A double click on "again" asks for one more, and does not place it.
    page.get_by_role("button", name="Place another").dblclick()
    said(page, "Swap 1.25 SOL for USDC")
    assert placed(desk) == {"1.25": 1}
    click_at(page, [90])
    said(page, "Placed")
    assert placed(desk) == {"1.25": 2}
    # The same by keyboard: a double Enter on "again" places nothing, one Tab further the button does.
    page.get_by_role("button", name="Place another").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    said(page, "Swap 1.25 SOL for USDC")
    page.keyboard.press("Tab")
    expect(page.locator("#place")).to_be_focused()
    page.keyboard.press("Enter")
    said(page, "Placed")
    assert placed(desk) == {"1.25": 3}


@pytest.mark.parametrize("change", ["amount", "token", "slippage", "type"])
def test_a_changed_ticket_is_a_new_order(desk: Desk, change: str) -> None:
    page = desk.page
    fill(page, "1.75")
    click_at(page, [])
    said(page, "Placed")
    match change:
        case "amount":
            page.get_by_label("You pay").fill("1.76")
        case "token":
            page.get_by_label("Token to receive").select_option("USDT")
        case "slippage":
            page.get_by_role("radio", name="1 %", exact=True).check()
        case "type":
            page.get_by_role("radio", name="Limit", exact=True).check()
            page.get_by_label("Limit price").fill("9000")
    expect(page.locator("#place")).to_have_text(re.compile("^(Swap|Place limit order)"))
    page.locator("#place").click()
    said(page, "Placed")
    assert sum(placed(desk).values()) == 2


def test_a_slow_network_and_an_impatient_person_make_one_order(desk: Desk) -> None:
    page = desk.page
    fill(page, "1.9")
    network = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 3500, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    network.send("Network.emulateNetworkConditions", conditions)
    click_at(page, [200, 300, 400, 500, 600])
    expect(page.locator("#ticket-hint")).to_contain_text("No answer for")
    page.get_by_label("You pay").press("Enter")
    said(page, "Placed")
    page.get_by_label("You pay").press("Enter")
    page.wait_for_timeout(300)
    assert placed(desk) == {"1.9": 1}


def lose_answers(page: Page, *, upto: int) -> list[str]:
    """Let the first requests arrive and lose their answers. Returns the names under which orders were sent."""
    names: list[str] = []

    def handle(route: Route, request: Request) -> None:
        names.append(request.headers["idempotency-key"])
        lost = len(names) <= upto
        answer = route.fetch()
        if lost:
            route.abort()
        else:
            route.fulfill(response=answer)

    page.route(EXECUTE, handle)
    return names


def test_an_order_whose_answers_are_all_lost_is_sent_again_under_its_name(desk: Desk) -> None:
    desk.expected_errors = ("ERR_FAILED",)
    page = desk.page
    names = lose_answers(page, upto=3)
    fill(page, "2.1")
    click_at(page, [])
    said(page, "Send again")
    expect(page.locator("#ticket-hint")).to_contain_text("may have been placed")
    page.locator("#place").dblclick()
    said(page, "Placed")
    assert len(set(names)) == 1
    assert len(names) == 4
    assert placed(desk) == {"2.1": 1}


def test_an_answer_that_is_cut_off_is_no_answer(desk: Desk) -> None:
    page = desk.page
    names: list[str] = []

    def cut(route: Route, request: Request) -> None:
        names.append(request.headers["idempotency-key"])
        answer = route.fetch()
        body = answer.text()
        route.fulfill(status=answer.status, content_type="application/json", body=body[:20] if len(names) < 3 else body)

    page.route(EXECUTE, cut)
    fill(page, "2.15")
    click_at(page, [200])
    said(page, "Placed")
    assert len(names) == 3
    assert len(set(names)) == 1
    assert placed(desk) == {"2.15": 1}


def test_what_is_left_unanswered_is_not_forgotten_when_the_ticket_changes(desk: Desk) -> None:
    desk.expected_errors = ("ERR_FAILED",)
    page = desk.page
    names = lose_answers(page, upto=3)
    fill(page, "2.2")
    click_at(page, [])
    said(page, "Send again")
    fill(page, "2.3")
    expect(page.get_by_text("2.2 SOL for USDC, sent at")).to_be_visible()
    click_at(page, [50])
    said(page, "Placed")
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("2.2 SOL for USDC, sent at")).to_be_hidden()
    assert len(set(names)) == 2
    assert placed(desk) == {"2.2": 1, "2.3": 1}
    # Back at the first: it was placed, but before the other, so that it is a new order now.
    assert len(names) == 5


def test_a_reload_in_between_changes_nothing(desk: Desk) -> None:
    desk.expected_errors = ("ERR_FAILED",)
    page = desk.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        route.fetch()
        held.append(route)

    page.route(EXECUTE, hold)
    fill(page, "2.4")
    page.get_by_role("radio", name="1 %", exact=True).check()
    click_at(page, [])
    deadline = time.monotonic() + 60
    while not held:
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)
    page.reload()
    # Only now: a request that is held when the route goes would be sent once more, and might be answered.
    page.unroute(EXECUTE)
    expect(page.get_by_label("You pay")).to_have_value("2.4")
    expect(page.get_by_role("radio", name="1 %", exact=True)).to_be_checked()
    said(page, "Send again")
    click_at(page, [80])
    said(page, "Placed")
    page.reload()
    said(page, "Placed")
    click_at(page, [120])
    page.wait_for_timeout(300)
    assert placed(desk) == {"2.4": 1}


def test_a_page_that_is_reloaded_between_two_clicks_places_one_order(desk: Desk) -> None:
    page = desk.page
    fill(page, "2.6")
    click_at(page, [])
    page.reload()
    expect(page.locator("#place")).to_be_enabled()
    click_at(page, [150])
    said(page, "Placed")
    assert placed(desk) == {"2.6": 1}


def test_a_tab_that_was_duplicated_on_the_way_knows_the_order_by_the_same_name(desk: Desk) -> None:
    desk.expected_errors = ("ERR_FAILED",)
    page = desk.page
    names = lose_answers(page, upto=3)
    fill(page, "2.7")
    click_at(page, [])
    said(page, "Send again")
    with page.expect_popup() as opened:
        page.evaluate("window.open(location.href)")
    copy = opened.value
    said(copy, "Send again")
    click_at(copy, [60])
    said(copy, "Placed")
    click_at(page, [60])
    said(page, "Placed")
    assert len(set(names)) == 1
    assert placed(desk) == {"2.7": 1}
    # From here on each tab is a ticket of its own.
    for tab in (page, copy):
        tab.get_by_role("button", name="Place another").click()
        click_at(tab, [70])
        said(tab, "Placed")
    assert placed(desk) == {"2.7": 3}


def test_two_tabs_place_an_order_each(desk: Desk, open_desk: OpenDesk) -> None:
    other = open_desk(desk.stack, sign_in=False)
    other.key = desk.key
    other.sign_in()
    for tab, amount in ((desk.page, "2.81"), (other.page, "2.82")):
        fill(tab, amount)
        click_at(tab, [130])
    for tab in (desk.page, other.page):
        said(tab, "Placed")
    assert placed(desk) == {"2.81": 1, "2.82": 1}


def test_a_refused_order_is_placed_once_when_it_is_admitted(desk: Desk) -> None:
    desk.expected_errors = ("429",)
    page = desk.page
    problem = '{"code": "rate_limited", "detail": "Too many orders."}'
    options = {"status": 429, "content_type": "application/problem+json", "body": problem}
    page.route(EXECUTE, lambda route: route.fulfill(**options, headers={"retry-after": "2"}))
    fill(page, "2.9")
    click_at(page, [100])
    expect(page.locator("#ticket-error")).to_contain_text("Too many orders. Next order in")
    said(page, "Swap 2.9 SOL for USDC")
    page.unroute(EXECUTE)
    click_at(page, [100, 100])
    said(page, "Placed")
    assert placed(desk) == {"2.9": 1}


def test_a_key_that_ends_on_the_way_leaves_one_order(stack: Running, open_desk: OpenDesk) -> None:
    """The answer is lost, then the key is refused; the same person comes back and sends it again."""
    desk = open_desk(stack, expected_errors=("ERR_FAILED", "401"))
    page = desk.page
    names: list[str] = []

    def handle(route: Route, request: Request) -> None:
        names.append(request.headers["idempotency-key"])
        if len(names) == 1:
            route.fetch()
            route.abort()
        elif len(names) == 2:
            route.fulfill(status=401, json={"message": "Unauthorized"})
        else:
            route.continue_()

    page.route(EXECUTE, handle)
    fill(page, "3.1")
    click_at(page, [])
    page.get_by_role("textbox", name="API key").fill(desk.key)
    page.get_by_role("button", name="Continue").click()
    said(page, "Send again")
    page.locator("#place").click()
    said(page, "Placed")
    assert len(set(names)) == 1
    assert placed(desk) == {"3.1": 1}


def test_the_demonstration_runs_once_however_often_it_is_clicked(desk: Desk) -> None:
    page = desk.page
    page.locator("#demo-count").fill("2")
    page.locator("#demo-run").dblclick(delay=60)
    page.locator("#demo-count").press("Enter")
    expect(page.locator("#count-confirmed")).to_have_text("2", timeout=20_000)
    assert sum(placed(desk).values()) == 2
