"""Makes the screenshots of the documentation: ``python -m tests.web.screenshots``, or ``make screenshots``.

They show the real local stack at work: desktop and phone, dark and light.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from local import Running, running
from tests.web.conftest import ARGUMENTS, create_key

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
MAX_BYTES = 200_000
# Failures enough that a retry is seen, always the same market.
ENVIRONMENT = {"FAILURE_RATE": "0.15", "MARKET_SEED": "7"}

type Scheme = Literal["dark", "light"]


def _open(browser: Browser, stack: Running, key: str, scheme: Scheme, *, phone: bool = False) -> Page:
    size = {"width": 390, "height": 844} if phone else {"width": 1440, "height": 960}
    scale = 2 if phone else 1
    context = browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        device_scale_factor=scale,
        is_mobile=phone,
        has_touch=phone,
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(stack.http_url)
    page.get_by_role("textbox", name="API key").fill(key)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#stream")).to_have_attribute("data-state", "connected")
    expect(page.locator("#quotes table")).to_be_visible()
    return page


def _save(page: Page, name: str) -> None:
    path = IMAGES / f"{name}.png"
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    # The page has few colours: a palette halves the file and changes nothing that the eye sees.
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.relative_to(IMAGES.parents[1])}: {size // 1000} kB")
    if size > MAX_BYTES:
        raise SystemExit(f"{name} is larger than {MAX_BYTES // 1000} kB.")


def _history(page: Page) -> None:
    """Some minutes of trading, shortened: orders of all kinds, and one that rests."""
    page.get_by_role("radio", name="Limit", exact=True).check()
    page.get_by_label("Limit price").fill("165")
    page.locator("#place").click()
    page.get_by_role("radio", name="Market", exact=True).check()
    for _ in range(5):
        page.get_by_role("button", name="Run orders").click()
        time.sleep(6)
    page.get_by_label("Token to receive").select_option("JUP")
    page.get_by_label("You pay").fill("400")
    expect(page.locator("#quotes table")).to_be_visible()
    page.locator("#place").click()
    split = page.locator("tbody.order").filter(has_text="400 SOL → JUP")
    expect(split).to_have_attribute("data-status", "confirmed", timeout=60_000)


def _show_split(page: Page) -> None:
    page.get_by_label("Token to receive").select_option("JUP")
    page.get_by_label("You pay").fill("400")
    expect(page.locator("#quote-route svg")).to_have_attribute("aria-label", re.compile(r"\d+ %: SOL to"))


def _orders_in_flight(page: Page) -> None:
    page.locator("#demo-count").press("Enter")
    page.locator('[data-status="submitted"]').nth(3).wait_for()
    time.sleep(0.6)
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.locator("#notices").evaluate("(node) => node.replaceChildren()")


def _show_details(page: Page, order: Locator) -> None:
    order.locator(".chevron").click()
    order.evaluate("(node) => node.scrollIntoView()")
    page.evaluate("document.activeElement.blur()")


def _desktop(browser: Browser, stack: Running, key: str, scheme: Scheme) -> None:
    page = _open(browser, stack, key, scheme)
    _show_split(page)
    _orders_in_flight(page)
    _save(page, f"desk-{scheme}")
    if scheme == "dark":
        _show_details(page, page.locator("tbody.order").filter(has_text="400 SOL → JUP").first)
    else:
        _show_details(page, page.locator('[data-status="confirmed"]').filter(has_text="attempts").first)
    _save(page, f"order-{scheme}")
    page.context.close()


def _phone(browser: Browser, stack: Running, key: str, scheme: Scheme) -> None:
    page = _open(browser, stack, key, scheme, phone=True)
    _show_split(page)
    page.evaluate("document.activeElement.blur()")
    _save(page, f"phone-trade-{scheme}")
    page.get_by_role("navigation").get_by_role("button", name="Orders").click()
    _orders_in_flight(page)
    _save(page, f"phone-orders-{scheme}")
    page.context.close()


def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not installed (on Debian: apt install chromium).")
    IMAGES.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=15_000)
    with running(environment=ENVIRONMENT) as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        key = create_key(stack)
        _history(_open(browser, stack, key, "dark"))
        schemes: tuple[Scheme, Scheme] = ("dark", "light")
        for scheme in schemes:
            _desktop(browser, stack, key, scheme)
            _phone(browser, stack, key, scheme)
        browser.close()


if __name__ == "__main__":
    main()
