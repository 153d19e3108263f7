"""A browser for the pages: `make web-test`. Needs playwright, and a Chromium on this machine."""

import os
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
def open_page(browser):
    """open_page(client, width, …): the page, ready. Afterwards its console must be empty but for refused questions."""
    said, pages = [], []

    def opened(client, width=1280, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **{"locale": "en-US", **options})
        page.on("console", lambda message: "status of 400" in message.text or said.append(message.text))
        page.on("pageerror", lambda problem: said.append(str(problem)))
        page.goto(client.server.address)
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert said == []
