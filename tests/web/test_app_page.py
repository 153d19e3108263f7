"""The app's page in a real browser: `make web-test`."""

import json
import re

import numpy as np
import pytest

from minicnn import models
from minicnn.app.session import Session, site
from minicnn.io import model_file
from minicnn.web.server import Server
from tests.app.conftest import _made, app, noise, png, read_only_run, run, served, viewer  # noqa: F401
from tests.lab.conftest import listening
from tests.program import caller, document

WAIT = 60_000


def give(page, content, how="file"):
    """Choose, drop or paste a picture, and wait for the answer."""
    before = page.locator("#headline small").text_content()
    if how == "file":
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": content})
    else:
        page.evaluate("""([bytes, kind, holder]) => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(bytes)], "x.png", { type: "image/png" }));
            const event = new Event(kind, { bubbles: true, cancelable: true });
            Object.defineProperty(event, holder, { value: given });
            document.body.dispatchEvent(event);
        }""", [list(content), how, {"drop": "dataTransfer", "paste": "clipboardData"}[how]])
    page.wait_for_function("old => document.querySelector('#headline small').textContent !== old", arg=before,
                           timeout=WAIT)


def shown(page):
    """[(class, its percent as shown)] of the top five."""
    rows = page.locator("#bars button")
    return [(rows.nth(i).locator("span").first.text_content(), rows.nth(i).locator(".percent").text_content())
            for i in range(rows.count())]


def expected(out):
    return [(c["class"], f"{100 * c['probability']:.2f} %") for c in document(out)[0]["classes"]]


@pytest.mark.parametrize("how", ["file", "drop", "paste"])
def test_a_picture_gives_the_probabilities_of_predict(viewer, read_only_run, open_page, tmp_path, monkeypatch,  # noqa: F811
                                                      capsys, how):
    (tmp_path / "x.png").write_bytes(png(noise(4)))
    _, out, _ = caller(monkeypatch, capsys)("predict", read_only_run, tmp_path / "x.png", "--json")
    page = open_page(viewer)
    give(page, png(noise(4)), how)
    assert [(name, said.replace("\u2007", "")) for name, said in shown(page)] == expected(out)
    best, p = expected(out)[0]
    assert page.locator("#headline").text_content().replace("\u2007", "") == best + p
    assert page.locator("#picture").evaluate("c => [c.width, c.height]") == [28, 28]
    assert page.locator("#correct").is_hidden()            # this one only answers
    assert page.locator("#teach").is_hidden()


def test_the_pixels_shown_are_those_that_the_net_gets(viewer, open_page):  # noqa: F811
    page = open_page(viewer)
    give(page, png(noise(4)))
    prepare = viewer.server.session.prepare
    (image,) = prepare.read(noise(4).transpose(2, 0, 1))
    seen = page.locator("#picture").evaluate("c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data]")
    assert np.array_equal(np.array(seen).reshape(28, 28, 4)[:, :, 1], image)


def test_the_evidence_follows_the_class_that_is_chosen_and_can_be_hidden(viewer, open_page):  # noqa: F811
    page = open_page(viewer)
    give(page, png(noise(4)))
    page.wait_for_selector("#heat", state="visible", timeout=WAIT)
    first = page.locator("#heat").evaluate("c => c.toDataURL()")
    name = page.locator("#bars button span").first.text_content()
    assert f"“{name}”" in page.locator("#seen").text_content()
    place = page.evaluate("""() => { const a = document.getElementById("heat").getBoundingClientRect(),
        b = document.getElementById("picture").getBoundingClientRect();
        return [(a.top - b.top) / b.height, (a.left - b.left) / b.width, a.height / b.height, a.width / b.width]; }""")
    assert place == pytest.approx([2 / 28, 2 / 28, 24 / 28, 24 / 28], abs=0.01)   # 10 numbers and a rim, 2 pixels each
    page.locator("#bars button").nth(1).click()
    page.wait_for_function("old => document.getElementById('heat').toDataURL() !== old", arg=first, timeout=WAIT)
    assert page.locator("#bars [aria-pressed=true]").count() == 1
    page.locator("#show").uncheck()
    page.wait_for_selector("#heat", state="hidden")
    assert "Grad-CAM" not in page.locator("#seen").text_content()


def test_a_wrong_answer_corrected_retrains(app, run, open_page, tmp_path):  # noqa: F811
    page = open_page(app)
    assert page.locator("#train").is_disabled()
    give(page, png(noise(4)))
    wrong = page.locator("#bars button span").first.text_content()
    right = next(name for name in ("discs", "stripes") if name != wrong)
    page.locator("#class").select_option(label=right)
    page.locator("#tell").click()
    page.wait_for_selector("#filed", state="visible", timeout=WAIT)
    said = page.locator("#filed-said").text_content()
    stored = tmp_path / "pictures" / re.search(rf"{right}/corrected-\w+\.png", said)[0]
    assert stored.read_bytes() == png(noise(4))
    # the page asks for the number after it has told
    page.wait_for_function("() => document.getElementById('count').textContent.endsWith(': 1')", timeout=WAIT)
    page.locator("#undo").click()
    page.wait_for_function("() => document.getElementById('train').disabled", timeout=WAIT)
    assert not stored.exists()
    page.locator("#tell").click()
    page.wait_for_function("() => !document.getElementById('train').disabled", timeout=WAIT)
    page.locator("#train").click()
    page.wait_for_selector("#running", state="visible", timeout=WAIT)
    assert page.locator("#start").is_hidden()
    page.wait_for_selector("#rows tr >> nth=1", timeout=WAIT)
    state = app.ask("/api/state")[2]["training"]
    rows = page.locator("#rows tr")
    for i, key in enumerate(("held", "corrected")):
        counts = state["result"][key]
        assert f" {counts['pictures']} " in rows.nth(i).locator("th").text_content()
        cells = rows.nth(i).locator("td").all_text_contents()
        assert cells == [f"{counts[w]}{100 * counts[w] / counts['pictures']:.1f} %" for w in ("old", "new")]
    assert ("is used now" if state["used"] == "new" else "the old one stays") in page.locator("#verdict").text_content()
    before = shown(page)
    page.locator("#other").click()
    other = "old" if state["used"] == "new" else "new"
    page.wait_for_function("text => document.getElementById('verdict').textContent.includes(text)",
                           arg=f"The {other} model is used, as you chose", timeout=WAIT)
    assert app.ask("/api/state")[2]["training"]["used"] == other
    if (run / "best.retrained.safetensors").read_bytes() != (run / "best.1.safetensors").read_bytes():
        page.wait_for_function("old => document.getElementById('bars').textContent !== old",
                               arg="".join(a + b for a, b in before), timeout=WAIT)   # the new model's answer


def test_a_retraining_is_stopped_from_the_page(app, open_page):  # noqa: F811
    page = open_page(app)
    app.server.teacher.epochs = 100_000
    give(page, png(noise(4)))
    page.locator("#tell").click()
    page.wait_for_function("() => !document.getElementById('train').disabled", timeout=WAIT)
    page.locator("#train").click()
    page.wait_for_selector("#running", state="visible", timeout=WAIT)
    page.locator("#stop").click()
    page.wait_for_selector("#start", state="visible", timeout=WAIT)
    assert "The model is as before" in page.locator("#verdict").text_content()
    give(page, png(noise(5)))                              # it still answers


def test_with_the_keyboard_alone(app, open_page, tmp_path):  # noqa: F811
    page = open_page(app)

    def to(what, most=40):
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                return
        raise AssertionError(f"{what} is not reached with Tab")

    to("#file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files({"name": "x.png", "mimeType": "image/png", "buffer": png(noise(4))})
    page.wait_for_selector("#correct", state="visible", timeout=WAIT)
    to("#bars button")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#bars button").nth(1).get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.activeElement.matches('#bars button:enabled')")   # the focus is not lost
    to("#class")
    page.keyboard.press("d")                               # discs
    to("#tell")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("#filed", state="visible", timeout=WAIT)
    assert "discs/corrected-" in page.locator("#filed-said").text_content()
    to("#undo")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('filed-said').textContent === 'Taken back.'", timeout=WAIT)
    page.keyboard.press("Enter")                           # the focus is on "Correct it" again
    page.wait_for_function("() => !document.getElementById('train').disabled", timeout=WAIT)
    to("#train")
    page.keyboard.press("Enter")
    page.wait_for_selector("#running", state="visible", timeout=WAIT)
    page.keyboard.press("Enter")                           # the focus is on "Stop"
    page.wait_for_selector("#start", state="visible", timeout=WAIT)


def test_a_photo_from_the_camera_and_without_one(viewer, open_page, browser):  # noqa: F811
    page = open_page(viewer)
    page.locator("#camera").click()
    page.locator("#shoot").wait_for(state="visible")
    page.wait_for_timeout(1000)
    page.locator("#shoot").click()
    page.wait_for_function("() => document.querySelector('#headline small').textContent.includes('%')", timeout=WAIT)
    assert page.locator("#booth").is_hidden()
    phone = open_page(viewer, 390, has_touch=True, is_mobile=True)
    assert phone.locator("#camera").is_hidden()            # a file input that opens the camera needs no secure context
    assert phone.locator("#snap").is_visible()
    assert phone.locator("#photo").get_attribute("capture") == "environment"
    phone.set_input_files("#photo", {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": png(noise(), "JPEG")})
    phone.wait_for_function("() => document.querySelector('#headline small').textContent.includes('%')", timeout=WAIT)


def test_what_is_no_picture_is_said_and_the_next_one_works(viewer, open_page):  # noqa: F811
    page = open_page(viewer)
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"<svg onload=alert(1)>"})
    page.wait_for_selector("#error", state="visible", timeout=WAIT)
    assert "is not a picture" in page.locator("#error").text_content()
    give(page, png(noise(4)))
    assert page.locator("#error").is_hidden()


@pytest.mark.parametrize("width", [320, 768, 1280, 1600, 2560])
def test_no_width_scrolls_sideways(app, open_page, width):  # noqa: F811
    page = open_page(app, width)
    give(page, png(noise(4)))
    page.locator("#tell").click()
    page.wait_for_selector("#filed", state="visible", timeout=WAIT)
    counts = {"part": "test", "pictures": 10000, "old": 9876, "new": 9877, "only_old": 10, "only_new": 11,
              "left_out": 2}
    app.server.teacher._training = {"state": "done", "used": "new", "kept": "new", "result": {
        "held": counts, "corrected": counts, "doubt": "", "seconds": 1.0}}
    page.wait_for_selector("#rows tr", timeout=WAIT)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('.wide').scrollWidth <= document.querySelector('.wide').clientWidth")
    small = page.locator("button:visible, .button:visible, select:visible").evaluate_all(
        "list => list.filter(e => e.getBoundingClientRect().height < 24).map(e => e.outerHTML)")
    assert small == []


def test_numbers_do_not_jump(app, open_page):  # noqa: F811
    page = open_page(app)

    def places(what):
        return page.locator(what).evaluate_all("list => list.map(e => e.getBoundingClientRect().toJSON())")

    empty = places("#bars button")
    give(page, png(noise(4)))
    first = places("#bars button"), places("#bars .percent")
    assert [p["y"] for p in first[0]] == [p["y"] for p in empty]
    give(page, png(noise(6)))
    assert (places("#bars button"), places("#bars .percent")) == first


def test_korean_and_dark(app, open_page):  # noqa: F811
    page = open_page(app, locale="ko-KR", color_scheme="dark")
    assert page.locator("html").get_attribute("lang") == "ko"
    give(page, png(noise(4)))
    assert page.locator("#stage-title").text_content() == "사진"
    words = page.locator("[data-word]").all_text_contents()
    assert not {"", "undefined"} & set(words)
    assert not [w for w in words if "{" in w]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 60


def test_both_languages_have_the_same_words(viewer, open_page):  # noqa: F811
    source = viewer.ask("/app.js")[2].decode()
    english, korean = (re.search(rf"\n  {code}: \{{\n(.*?)\n  \}},\n", source, re.S)[1] for code in ("en", "ko"))
    keys = [sorted(re.findall(r"(?:^|[,{] )\s*(\w+): [\"{]", text, re.M)) for text in (english, korean)]
    assert keys[0] == keys[1]
    assert len(keys[0]) > 50
    holes = [sorted(re.findall(r"\{\d\}", text)) for text in (english, korean)]
    assert holes[0] == holes[1]


def test_every_control_has_a_name_and_enough_contrast(app, open_page):  # noqa: F811
    for scheme in ("light", "dark"):
        page = open_page(app, color_scheme=scheme)
        give(page, png(noise(4)))
        nameless = page.locator("button:visible, select, input, canvas[role]").evaluate_all(
            """list => list.filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length || e.title))
            .map(e => e.outerHTML)""")
        assert nameless == []
        pairs = page.evaluate("""() => [["#headline", "#answer"], [".hint", "#answer"], ["#tell", "#tell"],
            ["footer", "body"], ["#bars .percent", "#answer"]].map(pair => pair.map(
            (what, i) => getComputedStyle(document.querySelector(what))[i ? "backgroundColor" : "color"]))""")
        for text, ground in pairs:
            assert contrast(text, ground) >= 4.5, (scheme, text, ground)


def contrast(a, b):
    """WCAG 2.2, 1.4.3"""
    def luminance(colour):
        c = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
        return sum(w * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
                   for w, v in zip((0.2126, 0.7152, 0.0722), c))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_names_are_text_and_never_markup(open_page):
    evil = "<img src=x onerror=document.title='hit'>"
    net = models.build("lenet5")
    about = model_file.Description("lenet5", {}, [f"{evil}{i}" for i in range(10)], [1, 28, 28], [0.1], [0.3])
    session = Session(net, about, evil)
    made = Server(site(session))
    made.session = session
    with listening(made) as client:
        page = open_page(client)
        give(page, png(noise(4)))
        assert page.locator("img").count() == 0
        assert page.locator("#name").text_content() == evil
        assert page.locator("#bars button span").first.text_content().startswith(evil)
        assert page.title() != "hit"


def test_a_model_of_two_visitors_is_one_and_both_see_the_new_one(app, open_page):  # noqa: F811
    mine, yours = open_page(app), open_page(app)
    give(mine, png(noise(4)))
    give(yours, png(noise(4)))
    before = yours.locator("#bars").text_content()
    net, _ = model_file.load(app.server.teacher.path)
    for p in net.parameters():
        p.data = p.data * np.float32(1.3)
    app.server.session.replace(net)
    yours.wait_for_function("old => document.getElementById('bars').textContent !== old", arg=before, timeout=WAIT)
    assert json.dumps(shown(mine))
