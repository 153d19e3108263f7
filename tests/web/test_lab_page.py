"""The lab's page in a real browser: `make web-test`."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from minicnn import models, nn, ops
from minicnn.data.preprocessing import Preprocessing
from minicnn.lab.session import Session
from tests.lab.conftest import listening, server, session


@pytest.fixture(scope="module")
def lab():
    with listening(server(session())) as client:
        yield client


def number(text):
    return float(text.replace("−", "-"))


def point(page, node, x=10, y=10):
    """Click on a card's maps, and wait for the explanation."""
    before = page.locator("#cell-title").text_content()
    canvas = page.locator(".node canvas").nth(node)
    canvas.scroll_into_view_if_needed()
    canvas.click(position={"x": x, "y": y})
    for _ in range(100):
        if page.locator("#cell-title").text_content() != before:
            break
        page.wait_for_timeout(50)
    return page.locator("#cell-title").text_content()


def test_the_first_view_shows_the_whole_net_and_the_probabilities(lab, open_page):
    page = open_page(lab)
    nodes = lab.ask("/api/net")[2]["nodes"]
    assert page.locator(".node").count() == len(nodes)
    assert page.locator("#edges > path").count() == sum(len(n["inputs"]) for n in nodes)
    shares = [number(t.replace("%", "")) for t in page.locator("#bars .percent").all_text_contents()]
    assert len(shares) == 10
    assert sum(shares) == pytest.approx(100, abs=0.6)
    assert page.locator("#samples button").count() == 40


def test_a_convolutions_number_is_its_products_and_bias(lab, open_page):
    page = open_page(lab)
    title = point(page, 1, 30, 30)
    value = number(re.search(r"= (\S+)$", title)[1])
    total, shown = map(number, page.locator("#why .eq b").all_text_contents()[:2])
    assert shown == value
    bias = lab.server.session.model.state_dict()["features.0.bias"][int(re.search(r"\[(\d+)", title)[1])]
    assert total + bias == pytest.approx(value, abs=2e-4)
    products = page.locator("table.m").nth(2)
    assert "products" in products.locator("caption").text_content()
    exact = [number(t) for t in products.locator("td").evaluate_all("tds => tds.map(t => t.title)")]
    assert sum(exact) == pytest.approx(total, abs=1e-3)


def test_a_click_holds_a_number_and_a_second_one_lets_it_go(lab, open_page):
    page = open_page(lab)
    title = point(page, 1, 30, 30)
    box = page.locator(".node canvas").nth(1).bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.wait_for_timeout(400)
    assert page.locator("#cell-title").text_content() == title             # held
    other = point(page, 1, 60, 30)
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.wait_for_timeout(400)
    assert page.locator("#cell-title").text_content() == other != title    # the other one is held now
    page.mouse.click(box["x"] + 60, box["y"] + 30)
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.wait_for_timeout(400)
    assert page.locator("#cell-title").text_content() not in (title, other)


@pytest.mark.parametrize("node", range(14))
def test_every_kind_of_number_is_explained(lab, open_page, node):
    page = open_page(lab)
    assert "y[" in point(page, node)
    assert page.locator("#why").text_content()
    assert page.locator("#error").is_hidden()


def test_drawing_changes_the_answer_and_the_number(lab, open_page):
    page = open_page(lab)
    page.locator("#clear").click()
    point(page, 1, 30, 30)
    before = page.locator("#cell-title").text_content(), page.locator("#bars").text_content()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 150, steps=12)
    page.mouse.up()
    page.wait_for_timeout(800)
    assert page.locator("#bars").text_content() != before[1]
    assert page.locator("#cell-title").text_content() != before[0]


def test_the_keyboard_moves_from_number_to_number_and_draws(lab, open_page):
    page = open_page(lab)
    canvas = page.locator(".node canvas").nth(1)
    canvas.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    first = re.search(r"\[(.*)\]", page.locator("#cell-title").text_content())[1].split(", ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(400)
    second = re.search(r"\[(.*)\]", page.locator("#cell-title").text_content())[1].split(", ")
    assert [int(b) - int(a) for a, b in zip(first, second)] == [0, 1, 1]
    page.locator("#clear").click()
    page.wait_for_timeout(300)
    before = page.locator("#bars").text_content()
    page.locator("#pad").focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(500)
    assert page.locator("#bars").text_content() != before


def test_a_picture_can_be_opened_dropped_and_pasted(lab, open_page):
    page = open_page(lab)
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)).save(out, "PNG")
    expected = lab.ask("/api/picture", content=out.getvalue())[2]["probabilities"]
    bars = []
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": out.getvalue()})
    page.wait_for_timeout(500)
    bars.append(page.locator("#bars").text_content())
    for kind, holder in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.locator("#clear").click()
        page.wait_for_timeout(400)
        page.evaluate("""([bytes, kind, holder]) => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(bytes)], "x.png", { type: "image/png" }));
            const event = new Event(kind, { bubbles: true, cancelable: true });
            Object.defineProperty(event, holder, { value: given });
            document.body.dispatchEvent(event);
        }""", [list(out.getvalue()), kind, holder])
        page.wait_for_timeout(600)
        bars.append(page.locator("#bars").text_content())
    assert bars[0] == bars[1] == bars[2]
    assert expected["shape"] == [10]


def test_a_picture_from_the_webcam(lab, open_page):
    page = open_page(lab)
    before = page.locator("#pad").evaluate("c => c.toDataURL()")
    page.locator("#camera").click()
    page.locator("#shoot").wait_for(state="visible")
    page.wait_for_timeout(1000)
    page.locator("#shoot").click()
    page.wait_for_timeout(1000)
    assert page.locator("#booth").is_hidden()
    assert page.locator("#error").is_hidden()
    assert page.locator("#pad").evaluate("c => c.toDataURL()") != before


def test_a_weight_by_hand_a_finite_difference_and_a_step(lab, open_page):
    page = open_page(lab)
    title = point(page, 1, 30, 30)
    page.locator("table.m").nth(1).locator("button").first.click()
    page.locator("#edit button").nth(1).click()
    page.wait_for_timeout(800)
    said = page.locator("#edit .eq").text_content()
    analytic, measured = (number(v) for v in re.findall(r"(?<!\w)−?\d+\.\d+(?:e−?\d+)?", said)[-2:])
    assert analytic == pytest.approx(measured, rel=1e-4, abs=1e-7)
    page.locator("#edit input").fill("3")
    page.locator("#edit button").nth(0).click()
    page.wait_for_timeout(600)
    assert page.locator("#changed").is_visible()
    assert page.locator("#cell-title").text_content() != title
    page.locator("#reset").click()
    page.wait_for_timeout(600)
    assert page.locator("#changed").is_hidden()
    assert page.locator("#cell-title").text_content() == title
    page.locator("#rate").fill("0.001")
    page.locator("#try").click()
    page.wait_for_timeout(800)
    before, after = re.search(r": (\S+) → (\S+)", page.locator("#step .eq").text_content()).groups()
    assert number(after) < number(before)
    rows = page.locator("#step table.t").nth(1).locator("tbody tr")
    assert rows.count() == len(lab.server.session.model.parameters())
    assert page.locator("#changed").is_hidden()


def test_evidence_and_all_maps(lab, open_page):
    page = open_page(lab)
    for what in ("saliency", "grad-cam", "occlusion"):
        page.locator("#evidence").select_option(what)
        page.wait_for_timeout(1500)
        assert page.locator("#heat").evaluate("c => c.width * c.height") > 1, what
    page.locator(".node button").nth(1).click()
    page.wait_for_timeout(500)
    assert page.locator("#all canvas").count() == 6
    page.locator("#all canvas").nth(4).click(position={"x": 5, "y": 5})
    page.wait_for_timeout(500)
    assert "y[4, " in page.locator("#cell-title").text_content()


@pytest.mark.parametrize("width", [320, 768, 1280, 1920])
def test_no_width_scrolls_sideways(lab, open_page, width):
    page = open_page(lab, width)
    for node in (1, 8):
        point(page, node)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_numbers_do_not_jump(lab, open_page):
    page = open_page(lab)

    def places():
        return page.locator("#bars button").evaluate_all("list => list.map(e => e.getBoundingClientRect().toJSON())")

    before = places()
    page.locator("#samples button").nth(3).click()
    page.wait_for_timeout(500)
    assert places() == before


def test_korean_and_dark(lab, open_page):
    page = open_page(lab, locale="ko-KR", color_scheme="dark")
    assert page.locator("html").get_attribute("lang") == "ko"
    assert page.locator("#input-title").text_content() == "입력"
    words = page.locator("[data-word]").all_text_contents()
    assert not {"", "undefined"} & set(words)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 60


def test_every_control_has_a_name(lab, open_page):
    page = open_page(lab)
    point(page, 1, 30, 30)
    nameless = page.locator("button, select, input, canvas[tabindex]").evaluate_all("""list => list.filter(e => !(
        e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length || e.title)).map(e => e.outerHTML)""")
    assert nameless == []


def test_names_are_text_and_never_markup(open_page):
    prepare = Preprocessing((28, 28), (0.1,), (0.3,), channels=1)
    evil = "<img src=x onerror=document.title='hit'>"
    names = [f"{evil}{i}" for i in range(10)]
    with listening(server(Session(models.build("lenet5"), names, prepare, evil))) as lab:
        page = open_page(lab)
        point(page, 12)
        assert page.locator("img").count() == 0
        assert evil in page.locator("#about").text_content()
        assert page.title() != "hit"


def test_a_net_with_branches_and_a_skip_connection(open_page):
    class Net(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.out = nn.Linear(6, 4)

        def forward(self, x):
            a = ops.relu(self.a(x))
            b = self.b(a) + a
            return self.out(ops.global_avg_pool2d(ops.concat(a, b)))

    with listening(server(Session(Net(), [], Preprocessing((12, 12), (0.1,), (0.3,), channels=1)))) as lab:
        page = open_page(lab)
        assert page.locator("#edges > path").count() == 10
        for node in range(page.locator(".node").count()):
            assert "y[" in point(page, node)
