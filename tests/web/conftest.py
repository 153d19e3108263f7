"""A browser for the pages: `make web-test`. Needs playwright, and a Chromium on this machine."""

import os
import re
import shutil

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome"))), None)  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make web-test")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream"])  # fmt: skip
        yield browser
        browser.close()


@pytest.fixture
def browse(browser):
    """browse(address, …): the page, ready. Afterwards its console must be empty but for refused questions.

    allowed: HTTP's status of those, a pattern.   only: the beginning of all addresses that the page may ask for.
    """
    said, pages = [], []

    def opened(address, allowed="400", only="", ready=True, width=1280, wait=60_000, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **{"locale": "en-US", **options})
        page.on("console", lambda message: re.search(f"status of ({allowed})", message.text)
                or said.append(message.text))  # fmt: skip
        page.on("pageerror", lambda problem: said.append(str(problem)))
        page.on("request", lambda request: request.url.startswith((only, "data:", "blob:")) or said.append(request.url))
        page.goto(address)
        if ready:
            page.wait_for_selector("html[data-ready]", timeout=wait)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert said == []


@pytest.fixture
def open_page(browse):
    """open_page(client, …): the page of a client's server."""
    return lambda client, width=1280, **options: browse(client.server.address, width=width, **options)
