"""The lab without a server: what may be imported there, its answers, and its training against a loop written here."""

import base64
import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from docs.site import in_page as site
from minicnn import data, models, rng
from minicnn.io import model_file
from minicnn.lab.in_page import Page
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor
from tests.lab.conftest import listening, server
from tests.work import NEVER

IN_A_BROWSER = """
import json, sys, threading
for name in ("multiprocessing", "_multiprocessing", "concurrent.futures.process", "socket", "_socket", "socketserver",
             "http.server", "ssl", "subprocess", "fcntl", "safetensors", "threadpoolctl", "rich", "typer", "pooch",
             "numba", "matplotlib", "onnx", "cupy", "mpi4py"):
    sys.modules[name] = None
def start(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
import minicnn
import minicnn.train
from minicnn.lab.in_page import Page
assert minicnn.__file__.startswith(sys.argv[1]), minicnn.__file__
page = Page(open(sys.argv[2], "rb").read())
def ask(path, body=None, **given):
    status, answer = page.ask(path, json.dumps(given).encode() if given else body)
    assert status == 200, answer
    return json.loads(answer)
ask("/api/net"); ask("/api/samples")
look = ask("/api/pixels", page.digits.test.images[0].tobytes())["look"]
unit = ask("/api/unit", look=look, node=1, at=[0, 12, 12], k=3)
ask("/api/maps", look=look, node=1); ask("/api/evidence", look=look, what="grad-cam", k=3)
ask("/api/difference", look=look, k=3, parameter="features.0.weight", at=[0, 0, 2, 2])
print(json.dumps([unit["value"], ask("/api/open", open(sys.argv[3], "rb").read()), ask("/api/train", steps=1)]))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The content of the model file of the site's page, after two steps."""
    path = tmp_path_factory.mktemp("demo") / "demo.safetensors"
    site.demo(path, steps=2)
    return path


@pytest.fixture
def page():
    return Page()


def ask(page, path, **given):
    status, answer = page.ask(path, json.dumps(given).encode())
    return status, json.loads(answer)


def test_the_page_needs_no_process_thread_socket_or_package_but_numpy_and_pillow(tmp_path, trained):
    """From the archive that the page loads: a look of the lab, a model file, weights in .npz, and a training step."""
    site.archive(tmp_path / "minicnn.zip")
    with zipfile.ZipFile(tmp_path / "minicnn.zip") as archive:
        assert not [name for name in archive.namelist() if "/page/" in name or "__pycache__" in name]
        archive.extractall(tmp_path / "extracted")
    net = models.build("lenet5")
    np.savez(tmp_path / "mine.npz", **net.state_dict())
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", IN_A_BROWSER, str(tmp_path / "extracted"), str(trained),
                           str(tmp_path / "mine.npz")], capture_output=True, text=True, timeout=NEVER,
                          cwd=tmp_path / "extracted", env={**environment, "MINICNN_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    value, opened, step = json.loads(done.stdout)
    demo, _ = model_file.load(trained)
    digits = data.load("digits")
    x = data.normalise(digits.test.images[:1], digits.mean, digits.std)[0, 0].astype(np.float64)
    w, b = (demo.state_dict()[f"features.0.{name}"][0] for name in ("weight", "bias"))
    assert value == pytest.approx((x[10:15, 10:15] * w[0]).sum() + b, rel=1e-5)      # 5×5, padding 2
    assert opened == {"name": "lenet5"}
    assert step["step"] == 1


def test_thirty_steps_are_those_of_a_plain_loop(page):
    """LeNet-5 of seed 0, the order of NumPy's generator 0, AdamW by its formulas (Loshchilov & Hutter 2017, alg. 2)."""
    rng.seed(0)
    net, digits = models.build("lenet5"), data.load("digits")
    order, draw = np.arange(5000), np.random.default_rng(0)
    draw.shuffle(order)
    named = net.parameters()
    m, v = ([np.zeros(p.shape) for p in named] for _ in range(2))
    expected = []
    for t in range(1, 31):
        chosen = order[64 * (t - 1):64 * t]
        x = (digits.train.images[chosen] / 255 - digits.mean[0]) / digits.std[0]
        loss = cross_entropy(net(Tensor(x.astype(np.float32))), digits.train.labels[chosen])
        net.zero_grad()
        loss.backward()
        expected.append(loss.item())
        for i, p in enumerate(named):
            g = p.grad.astype(np.float64)
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g**2
            change = m[i] / (1 - 0.9**t) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8) + 0.01 * p.data
            p.data = (p.data - 0.001 * change).astype(np.float32)
    status, answer = ask(page, "/api/train", steps=30, rate=0.001)
    assert status == 200
    assert answer["step"] == 30
    assert answer["losses"] == pytest.approx(expected, rel=1e-3)
    assert answer["losses"][0] == pytest.approx(expected[0], rel=1e-6)
    assert expected[-1] < expected[0] / 5


def test_the_answers_are_the_servers(page):
    """The same net in a server and in the page: the same bytes, for good questions and bad ones."""
    image = page.digits.test.images[7].tobytes()
    asked = [("/api/samples", None), ("/api/pixels", image), ("/api/pixels", b"short"), ("/api/picture", b"no picture"),
             ("/api/unit", {"look": 0, "node": 4, "at": [3, 2, 2], "k": 1}), ("/api/unit", {"look": 99, "node": 0}),
             ("/api/step", {"look": 0, "label": 7, "rate": 0.01}), ("/api/maps", {"look": 0, "node": 2, "what": 1}),
             ("/api/none", {})]  # fmt: skip
    with listening(server(page.session)) as client:
        for path, given in asked:
            content = given if isinstance(given, bytes) else None
            status, _, expected = client.ask(path, given if content is None else None, content,
                                             X_Token=client.server.token)
            body = content if content is not None or given is None else json.dumps(given).encode()
            found, answer = page.ask(path, body)
            answer = json.loads(answer)
            if status == 200 and path == "/api/pixels":                # each look has a number of its own
                assert answer.pop("look") == expected.pop("look") + 1
            assert (found, answer) == (status, expected), path


def test_a_net_of_ones_own_is_opened_from_its_model_file(page, tmp_path, rng):
    net = models.build("resnet20", num_classes=3, in_channels=3).eval()
    prepare = data.Preprocessing((32, 32), (0.4,) * 3, (0.3,) * 3)
    about = model_file.Description.of("resnet20", {"num_classes": 3, "in_channels": 3}, ["a", "b", "c"], prepare)
    model_file.save(tmp_path / "x.safetensors", net, about)
    assert page.ask("/api/open", memoryview((tmp_path / "x.safetensors").read_bytes()))[0] == 200
    said = json.loads(page.ask("/api/net")[1])
    assert (said["classes"], said["in_page"], said["trains"]) == (["a", "b", "c"], True, False)
    assert json.loads(page.ask("/api/samples")[1])["labels"] == []
    image = rng.integers(0, 256, (3, 32, 32), np.uint8)
    seen = json.loads(page.ask("/api/pixels", image.tobytes())[1])
    scores = net(Tensor(((image[None] / 255 - 0.4) / 0.3).astype(np.float32))).numpy()[0]
    found = np.frombuffer(base64.b64decode(seen["scores"]["data"]), "<f4")
    assert found == pytest.approx(scores, rel=1e-3, abs=1e-5)
    status, answer = ask(page, "/api/train", steps=1)
    assert status == 400
    assert "can't be trained on the digits" in answer["error"]
    assert page.ask("/api/test")[0] == 400


@pytest.mark.parametrize("write", [
    lambda file, state: np.savez(file, **state),
    lambda file, state: file.write(safetensors.numpy.save(state)),
], ids=["npz", "safetensors"])  # fmt: skip
def test_weights_of_lenet5_without_a_description_are_opened(page, write):
    net = models.build("lenet5")
    file = io.BytesIO()
    write(file, net.state_dict())
    assert ask(page, "/api/train", steps=1)[0] == 200
    assert page.ask("/api/open", file.getvalue())[0] == 200
    assert page.training is None
    for name, array in page.session.model.state_dict().items():
        assert np.array_equal(array, net.state_dict()[name])


def test_another_file_is_refused_and_the_net_stays(page, trained):
    before = page.session
    other = io.BytesIO()
    np.savez(other, x=np.zeros(3))
    for content, said in ((b"hello", "neither a model file"), (b"", "it is empty"), (other.getvalue(), "lenet5"),
                          (trained.read_bytes()[:5000], "the file")):  # fmt: skip
        status, answer = page.ask("/api/open", content)
        assert status == 400
        assert said in answer
        assert "/tmp" not in answer
    assert page.session is before


def test_the_test_digits_are_counted(page):
    ask(page, "/api/train", steps=5)
    digits = data.load("digits")
    x = (digits.test.images / 255 - digits.mean[0]) / digits.std[0]
    answer = page.session.model(Tensor(x.astype(np.float32))).numpy().argmax(1)
    assert json.loads(page.ask("/api/test")[1]) == {"right": int((answer == digits.test.labels).sum()), "of": 1000}


def test_random_weights_and_reset_begin_a_training_anew(trained):
    page = Page(trained.read_bytes())
    loaded = page.session.model.state_dict()
    assert ask(page, "/api/train", steps=2)[1]["step"] == 2
    assert ask(page, "/api/random")[1] == {"changed": True}
    first = ask(page, "/api/train", steps=2)[1]
    assert first["step"] == 2
    ask(page, "/api/random", seed=0)
    assert ask(page, "/api/train", steps=2)[1] == first
    ask(page, "/api/random", seed=1)
    assert ask(page, "/api/train", steps=2)[1]["losses"][0] != first["losses"][0]
    assert ask(page, "/api/reset")[1] == {"changed": False}
    for name, array in page.session.model.state_dict().items():
        assert np.array_equal(array, loaded[name])
    assert ask(page, "/api/train", steps=1)[1]["step"] == 1


def test_a_look_after_a_step_is_of_the_new_weights(page):
    seen = json.loads(page.ask("/api/pixels", page.digits.test.images[0].tobytes())[1])
    ask(page, "/api/train", steps=3, rate=0.01)
    again = ask(page, "/api/again", look=seen["look"])[1]
    assert again["image"] == seen["image"]
    assert again["scores"] != seen["scores"]
    assert not page.session.model.training


@pytest.mark.parametrize(("given", "said"), [
    ({"steps": 0}, "steps"), ({"steps": 101}, "steps"), ({"steps": 1.5}, "steps"), ({"rate": 0}, "rate (=0)"),
    ({"rate": 11}, "rate (=11)"), ({"rate": "x"}, "rate"), ({"rate": True}, "rate"), ({"speed": 1}, "speed"),
])  # fmt: skip
def test_a_wrong_setting_is_one_sentence(page, given, said):
    status, answer = ask(page, "/api/train", **given)
    assert status == 400
    assert said in answer["error"]
    assert page.training is None


def test_a_loss_that_is_no_number_says_what_to_do(page):
    for p in page.session.model.parameters():
        p.data = np.full(p.shape, np.inf, np.float32)
    status, answer = ask(page, "/api/train", steps=1)
    assert status == 400
    assert "reset the net" in answer["error"]
