"""The lab without a server, in a real browser: `make web-test`.

A stand-in for the worker takes its questions to a `Page` in this process, so that the page's own part is tested without
Pyodide. Where runs/pyodide has one (`python -m docs.site.pyodide`), the real worker is tested, too.
"""

import functools
import io
import json
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from docs.site import in_page, pyodide
from minicnn import models
from minicnn.data.preprocessing import Preprocessing
from minicnn.io import model_file
from minicnn.lab.in_page import Page
from tests.web.test_lab_page import number, point

WAIT = 60_000
STAND_IN = """
postMessage({ stage: "minicnn" });
postMessage({ stage: "ready" });
onmessage = async ({ data: { path, body } }) => {
  const reply = await fetch("/ask?path=" + path + (body ? "&body=1" : ""), { method: "POST", body: body ?? "" });
  postMessage({ status: reply.status, answer: await reply.text() });
};
"""


class Handler(SimpleHTTPRequestHandler):
    """A static server, which also takes the stand-in's questions."""

    def do_POST(self):
        asked = parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(asked["path"][0])
        status, answer = self.server.page.ask(asked["path"][0], body if "body" in asked else None)
        content = answer.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """The page was closed before its answer came."""


def served(html, page=None):
    server = Server(("127.0.0.1", 0), functools.partial(Handler, directory=html))
    server.page, server.asked = page, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    in_page.write(folder)
    shutil.rmtree(folder / "pyodide", ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def stand_in(html, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand-in") / "html"
    shutil.copytree(html, folder)
    (folder / "live" / "worker.js").write_text(STAND_IN)
    return folder


@pytest.fixture
def lab(stand_in):
    server = served(stand_in, Page((stand_in / "live" / "demo.safetensors").read_bytes()))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(browse):
    """visit(server, …): the page, which asks nobody else. A file may be missing."""
    def opened(server, wait=WAIT, **options):
        home = f"http://127.0.0.1:{server.server_port}/"
        return browse(f"{home}live/", allowed="400|404", only=home, wait=wait, **options)

    return opened


def losses(page):
    return page.evaluate("""async () => {
        await askWorker("/api/random", "{}");
        const [status, answer] = await askWorker("/api/train", JSON.stringify({ steps: 30, rate: 0.001 }));
        return answer.losses;
    }""")


def natively():
    return json.loads(Page().ask("/api/train", b'{"steps": 30, "rate": 0.001}')[1])["losses"]


def test_the_lab_works_with_a_worker(lab, visit):
    page = visit(lab)
    assert page.locator("#about").text_content().startswith("lenet5 · 1×28×28 · 61,706 parameters")
    assert page.locator(".node").count() == 14
    assert page.locator("#samples button").count() == 40
    title = point(page, 1, 30, 30)
    value = number(re.search(r"= (\S+)$", title)[1])
    assert number(page.locator("#why .eq b").nth(1).text_content()) == value
    before = page.locator("#bars").text_content()
    page.locator("#clear").click()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 150, steps=12)
    page.mouse.up()
    page.wait_for_function("old => document.getElementById('bars').textContent !== old", arg=before, timeout=WAIT)
    assert page.locator("#error").is_hidden()


def test_a_question_that_is_given_up_is_not_asked(lab, visit):
    page = visit(lab)
    lab.asked.clear()
    ends = page.evaluate("""async () => {
        const ask = (path, body, signal) => askWorker(path, body, signal).then(a => a[0], problem => problem.name);
        const gone = new AbortController(), late = ask("/api/test");
        const lost = ask("/api/samples", undefined, gone.signal);
        gone.abort();
        return Promise.all([late, lost, ask("/api/net")]);
    }""")
    assert ends == [200, "AbortError", 200]
    assert lab.asked == ["/api/test", "/api/net"]


def test_lenet5_is_trained_in_the_page(lab, visit):
    page = visit(lab)
    page.locator("#live-random").click()
    page.wait_for_selector("#changed", state="visible", timeout=WAIT)
    page.locator("#live-train").click()
    assert page.locator("#live-train").text_content() == "Pause"
    page.wait_for_function("() => /^step (1[2-9]|[2-9]\\\\d)/.test(document.getElementById('live-said').textContent)",
                           timeout=WAIT)
    page.locator("#live-train").click()
    page.wait_for_function("() => document.getElementById('live-test').textContent", timeout=WAIT)
    assert page.locator("#live-train").text_content() == "Train"
    said = page.locator("#live-said").text_content()
    step, loss = re.match(r"step (\d+), loss ([\d.]+), \d+ ms a step", said).groups()
    assert float(loss) == pytest.approx(natively()[int(step) - 1], abs=2e-4)
    right = json.loads(lab.page.ask("/api/test")[1])["right"]
    assert page.locator("#live-test").text_content() == f"{right} of 1,000 test digits are right after step {step}."
    points = page.locator("#curves svg path").nth(1).get_attribute("d")
    assert points.count("L") == int(step) - 1
    page.locator("#reset").click()
    page.wait_for_selector("#changed", state="hidden", timeout=WAIT)
    assert page.locator("#curves svg").count() == 0
    assert page.locator("#live-said").text_content() == ""


def test_random_weights_end_a_training(lab, visit):
    """The button is pressed just when a step's look is answered: nothing of the old training comes after it."""
    page = visit(lab)
    page.evaluate("""() => {
        const real = askWorker;
        let pressed = false;
        globalThis.askWorker = async (path, ...given) => {
            const answer = await real(path, ...given);
            if (path === "/api/again" && !pressed) { pressed = true; document.getElementById("live-random").click(); }
            return answer;
        };
    }""")
    page.locator("#live-train").click()
    page.wait_for_function("() => document.getElementById('live-said').textContent", timeout=WAIT)
    page.wait_for_function("() => !document.getElementById('live-said').textContent", timeout=WAIT)
    page.wait_for_timeout(1000)
    assert page.locator("#live-said").text_content() == page.locator("#live-test").text_content() == ""
    assert "/api/test" not in lab.asked
    assert page.locator("#live-train").text_content() == "Train"


@pytest.mark.parametrize("how", ["chosen", "dropped"])
def test_a_model_file_is_opened(lab, visit, tmp_path, how):
    net = models.build("lenet5", num_classes=3, in_channels=3)
    about = model_file.Description.of("lenet5", {"num_classes": 3, "in_channels": 3}, ["ant", "bee", "cat"],
                                      Preprocessing((28, 28), (0.4,) * 3, (0.3,) * 3))
    model_file.save(tmp_path / "x.safetensors", net, about)
    page = visit(lab)
    point(page, 1, 30, 30)
    content = (tmp_path / "x.safetensors").read_bytes()
    if how == "chosen":
        page.set_input_files("#weights", {"name": "x.safetensors", "mimeType": "", "buffer": content})
    else:
        page.evaluate("""bytes => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(bytes)], "x.safetensors"));
            const event = new Event("drop", { bubbles: true, cancelable: true });
            Object.defineProperty(event, "dataTransfer", { value: given });
            document.body.dispatchEvent(event);
        }""", list(content))
    page.wait_for_function("() => document.getElementById('about').textContent.includes('3×28×28')", timeout=WAIT)
    page.wait_for_function("() => document.getElementById('bars').textContent.includes('bee')", timeout=WAIT)
    assert page.locator("#run").is_hidden()                    # it takes no digits
    assert page.locator("#samples button").count() == 0
    nodes = len(json.loads(lab.page.ask("/api/net")[1])["nodes"])
    assert page.locator(".node").count() == nodes
    assert page.locator("#why").text_content() == ""
    assert "y[" in point(page, 1)


def test_a_file_that_is_none_is_said(lab, visit):
    page = visit(lab)
    page.set_input_files("#weights", {"name": "x.npz", "mimeType": "", "buffer": b"hello"})
    page.wait_for_selector("#error", state="visible", timeout=WAIT)
    assert "neither a model file of minicnn" in page.locator("#error").text_content()
    page.locator("#samples button").nth(3).click()
    page.wait_for_selector("#error", state="hidden", timeout=WAIT)


@pytest.mark.parametrize(("locale", "said"), [("en-US", "python -m docs.site.pyodide"), ("ko-KR", "폴더에 없습니다")])
def test_without_pyodide_the_page_says_how_to_get_it(html, visit, locale, said):
    server = served(html)
    page = visit(server, ready=False, locale=locale)
    page.wait_for_selector("#error", state="visible", timeout=WAIT)
    assert said in page.locator("#error").text_content()
    server.shutdown()
    server.server_close()


def test_opened_as_a_file_it_says_how_to_serve_it(html, browser):
    page = browser.new_page()
    page.goto((html / "live" / "index.html").as_uri())
    assert "python -m http.server" in page.locator("#about").text_content()
    page.close()


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_no_width_scrolls_sideways(lab, visit, width):
    page = visit(lab, width=width)
    page.locator("#live-train").click()
    page.wait_for_function("() => document.getElementById('live-said').textContent", timeout=WAIT)
    page.locator("#live-train").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_korean(lab, visit):
    page = visit(lab, locale="ko-KR")
    assert page.locator("#live-train").text_content() == "학습"
    words = page.locator("[data-word]").all_text_contents()
    assert not {"", "undefined"} & set(words)


@pytest.mark.skipif(not pyodide.FOLDER.is_dir(), reason="there is no runs/pyodide: python -m docs.site.pyodide")
def test_with_pyodide_thirty_steps_have_the_same_losses_as_natively(html, visit, tmp_path):
    folder = tmp_path / "html"
    shutil.copytree(html, folder)
    shutil.copytree(pyodide.FOLDER, folder / "pyodide")
    server = served(folder)
    page = visit(server, wait=600_000)
    assert server.asked == []                                  # the worker answers
    title = point(page, 1, 30, 30)
    o, i, j = map(int, re.search(r"\[(\d+), (\d+), (\d+)\]", title).groups())
    lab = Page((html / "live" / "demo.safetensors").read_bytes())
    look = json.loads(lab.ask("/api/pixels", lab.session.samples()["images"][0].tobytes())[1])["look"]
    unit = json.loads(lab.ask("/api/unit", json.dumps({"look": look, "node": 1, "at": [o, i, j], "k": 0}).encode())[1])
    assert number(title.rpartition(" ")[2]) == pytest.approx(unit["value"], abs=1e-4)
    found = losses(page)
    assert found == pytest.approx(natively(), rel=1e-3)
    print(f"after 30 steps: {found[-1]:.6f} in the page, {natively()[-1]:.6f} natively")
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": png()})
    page.wait_for_function("() => document.querySelector('#bars .top')", timeout=WAIT)
    assert page.locator("#error").is_hidden()
    server.shutdown()
    server.server_close()


def png():
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)).save(out, "PNG")
    return out.getvalue()
