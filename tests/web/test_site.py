"""The search of the site, in a real browser that opens it as a file: `make web-test`. Needs the extra `docs`, too."""

import importlib.util
from pathlib import PurePosixPath

import pytest

from docs.site import build

ZENSICAL = importlib.util.find_spec("zensical")
pytestmark = pytest.mark.skipif(ZENSICAL is None, reason="zensical is not installed: make web-test")

PAGES = {
    "index.md": "# Start\n\nA page about nothing.\n",
    "ko/conv.md": "# 합성곱\n\n합성곱은 필터를 이미지 위로 움직이며 곱하고 더합니다.\n",
    "source/code.py.md": "---\nsearch:\n  exclude: true\n---\n\n# code\n\n합성곱\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build.write(folder, {PurePosixPath(path): text for path, text in PAGES.items()}, set())
    assert build.build(folder) == []
    return folder / "html"


@pytest.mark.parametrize(("word", "count"), [("합성곱", "1 result"), ("필터", "1 result"), ("nothing", "1 result")])
def test_the_search_finds_a_word_without_a_server(browser, site, word, count):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Search").first.click()
    page.wait_for_timeout(1000)
    page.keyboard.insert_text(word)
    page.get_by_text(count, exact=True).wait_for(timeout=20_000)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.close()
