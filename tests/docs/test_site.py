"""The site of docs/: where links lead, what the generated pages hold, and what its check finds."""

import re
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from docs.site import build, check, pages, reference
from minicnn import nn, ops
from minicnn.cli.app import VERBS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MARKDOWN = [ROOT / "README.md", ROOT / "kernels" / "README.md", *sorted(DOCS.glob("**/*.md"))]


def anchors(text):
    """The anchors of a page's headings, as GitHub and the site form them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_the_markdown_leads_to_a_file_and_its_heading(page):
    for target in pages.links(page.read_text("utf-8")):
        link, _, anchor = target.partition("#")
        if "://" in link:
            continue
        goal = (page.parent / link).resolve() if link else page
        assert goal.exists(), f"{target} does not exist"
        if anchor and goal.suffix == ".md":
            assert anchor in anchors(goal.read_text("utf-8")), f"{target}: no such heading"


def named_in(nav):
    """The pages and folders of a navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in named_in(entry)]


def test_every_page_is_in_the_navigation():
    nav = tomllib.loads((DOCS / "site" / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    named = named_in(nav)
    for page in DOCS.glob("**/*.md"):
        place = page.relative_to(DOCS).as_posix()
        assert any(place == entry or (entry.endswith("/") and place.startswith(entry)) for entry in named), (
            f"docs/{place} is in no section of docs/site/zensical.toml")
    made = ("reference/", "source/", "readme.md")
    assert [entry for entry in named if not entry.startswith(made) and not (DOCS / entry).exists()] == []


def test_a_link_out_of_docs_leads_to_a_page_with_the_file():
    text, wanted = pages.page_of(PurePosixPath("docs/models/lenet.md"))
    assert "](../source/minicnn/models/lenet.py.md)" in text
    assert PurePosixPath("minicnn/models/lenet.py") in wanted
    text, _ = pages.page_of(PurePosixPath("docs/index.md"))
    assert "](readme.md#in-python)" in text
    assert "](architecture.md#why-it-is-built-this-way)" in text
    code, _ = pages.page_of(PurePosixPath("minicnn/models/lenet.py"))
    assert (ROOT / "minicnn/models/lenet.py").read_text("utf-8").strip() in code
    listed, _ = pages.page_of(PurePosixPath("tests/emulator"))
    assert all(f"[{file.name}](" in listed for file in (ROOT / "tests" / "emulator").glob("*.py"))


@pytest.mark.parametrize(("here", "target", "leads_to"), [
    ("docs/index.md", "../README.md#in-python", "readme.md#in-python"),
    ("docs/index.md", "models/index.md", "models/index.md"),
    ("docs/gpu.md", "../kernels/", "source/kernels/index.md"),
    ("kernels/README.md", "../docs/gpu.md", "../../gpu.md"),
])  # fmt: skip
def test_links_between_pages(here, target, leads_to):
    link, mark, anchor = target.partition("#")
    goal = pages.place(pages.resolve(PurePosixPath(here), link))
    start = pages.place(PurePosixPath(here)).parent
    assert (ROOT / pages.resolve(PurePosixPath(here), link)).exists()
    assert Path(DOCS / start / leads_to.partition("#")[0]).resolve() == Path(DOCS / goal).resolve()
    assert mark + anchor == leads_to[len(leads_to.partition("#")[0]):]


def test_a_notebook_is_a_page_with_its_text_and_code():
    text, wanted = pages.page_of(PurePosixPath("docs/notebooks/2-own-op.ipynb"))
    assert text.startswith("# An op of your own")
    assert "```python\n@op\ndef squareplus(x, *, b=4.0):\n" in text
    assert "](3-own-photos.md)" in text
    assert "](../contributing.md#add-an-op)" in text
    assert PurePosixPath("docs/gradient-checking.md") in wanted
    assert pages.place(PurePosixPath("docs/notebooks/2-own-op.ipynb")) == PurePosixPath("notebooks/2-own-op.md")


def test_links_in_code_stay():
    text = "[a](../minicnn/tensor.py)\n\n```\n[b](../minicnn/tensor.py)\n```\n"
    assert pages.links(text) == ["../minicnn/tensor.py"]
    assert pages.outside_code(text, str.upper) == "[A](../MINICNN/TENSOR.PY)\n\n```\n[b](../minicnn/tensor.py)\n```\n"


def test_the_verbs_are_all_on_the_reference_page():
    page = reference.cli()
    assert re.findall(r"^### minicnn (\w+)$", page, re.M) == list(VERBS)
    assert "| `--kernel -k` | Taps of the window, K. | `3` |" in page                # of `minicnn shape --help`
    assert "| `SIZE` | Pixels along one axis of the image, W. | required |" in page
    assert "| `--epochs` | Passes over the training images. | `20` |" in page
    assert "#### minicnn explain pool" in page


@pytest.mark.parametrize("module", [ops, nn])
def test_every_public_name_is_on_its_reference_page(module):
    page = reference.api(module.__name__)
    assert re.findall(r"^## (\w+)$", page, re.M) == module.__all__


def test_the_reference_shows_signature_formula_and_place():
    page = reference.api("minicnn.ops")
    entry = page[page.index("## conv2d\n"):page.index("## conv2d_relu\n")]
    assert "stride: " in entry
    assert "y[n,o,i,j] = b[o] + Σ_{c,p,q}" in entry
    line = int(re.search(r"\[minicnn/ops/conv.py, line (\d+)\]", entry)[1])
    assert (ROOT / "minicnn/ops/conv.py").read_text("utf-8").splitlines()[line - 1:][:3] == ["@op", "@fusable",
        (ROOT / "minicnn/ops/conv.py").read_text("utf-8").splitlines()[line + 1]]  # fmt: skip


def test_a_folder_in_the_navigation_stands_for_its_pages():
    made = {"index.md", "models/index.md", "models/vgg.md", "models/alexnet.md"}
    assert build.expand([{"Zoo": ["models/"]}, {"None": ["ko/"]}], made) == [
        {"Zoo": ["models/index.md", "models/alexnet.md", "models/vgg.md"]}]
    titled = [{"Start": [{"Tour": "index.md"}, {"No": "no.md"}, {"Nets": ["models/"]}]}]
    nets = {"Nets": ["models/index.md", "models/alexnet.md", "models/vgg.md"]}
    assert build.expand(titled, made) == [{"Start": [{"Tour": "index.md"}, nets]}]


GOOD = '<a href="b.html#here">b</a><img src="p.png"><a href="https://example.org">out</a>'


@pytest.mark.parametrize(("planted", "found"), [
    ("", None),
    ('<a href="c.html">', "a.html links to c.html, which does not exist"),
    ('<a href="b.html#there">', "a.html links to b.html#there: that page has no such anchor"),
    ('<a href="#there">', "a.html links to #there: that page has no such anchor"),
    ('<img src="q.png">', "a.html links to q.png, which does not exist"),
    ('<script src="https://example.org/x.js"></script>', "a.html loads https://example.org/x.js"),
    ('<link rel="stylesheet" href="//example.org/x.css">', "a.html loads //example.org/x.css"),
    ("<style>@import url(https://example.org/x.css);</style>", "a.html loads https://example.org/x.css"),
])  # fmt: skip
def test_the_check_finds(tmp_path, planted, found):
    (tmp_path / "a.html").write_text(GOOD + planted)
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "p.png").write_bytes(b"")
    assert check.problems(tmp_path) == ([found] if found else [])


@pytest.mark.parametrize("style", ["@font-face{src:url(https://example.org/f.woff)}", '@import "//example.org/x.css"'])
def test_the_check_finds_what_a_style_sheet_loads(tmp_path, style):
    (tmp_path / "x.css").write_text(style)
    assert len(check.problems(tmp_path)) == 1
