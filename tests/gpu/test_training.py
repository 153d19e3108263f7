"""Training on the GPU backend, as users start it: `minicnn train`, `fit`, and a loop of one's own."""

import json

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, data, nn, optim
from minicnn.ops.softmax import cross_entropy
from minicnn.train import fit
from tests.program import caller
from tests.train.tiny import TINY


def small_net():
    minicnn.seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(4 * 4 * 4, 3))  # fmt: skip


def pictures(count=12):
    rng = np.random.default_rng(4)
    return rng.standard_normal((count, 1, 8, 8)).astype(np.float32), np.arange(count) % 3


def losses(device, **options):
    net, found = small_net().to(device), []
    fit(net, pictures(), epochs=2, batch_size=4, validation=0, verbose=False,
        on_step=lambda step, loss: found.append(loss), **options)
    return found, net.to("cpu").state_dict()


@pytest.mark.parametrize("options", [
    {}, {"optimizer": "sgd", "lr": 0.1, "label_smoothing": 0.1, "class_weights": "balanced", "schedule": "cosine"},
], ids=["adamw", "sgd, smoothing, weights"])
def test_fit_computes_what_it_computes_on_the_cpu(device, options):
    there, weights = losses(device, **options)
    here, exact = losses("cpu", **options)
    np.testing.assert_allclose(there, here, rtol=1e-4)
    assert here[-1] < here[0]
    for name, value in exact.items():
        np.testing.assert_allclose(weights[name], value, rtol=2e-3, atol=2e-4, err_msg=name)


def test_a_loop_of_ones_own_takes_labels_as_a_loader_makes_them(device):
    net, (images, labels) = small_net().to(device), pictures()
    optimizer, found = optim.SGD(net.parameters(), lr=0.1), []
    for _ in range(3):
        loss = cross_entropy(net(Tensor(images, device=device)), labels)
        assert loss.device == device
        net.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    z = small_net()(Tensor(images)).data.astype(np.float64)                  # the first loss, by its definition
    expected = (np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels]).mean()
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    assert found[2] < found[0]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--optimizer", "sgd", "--ema", "0.9", "--clip", "1", "--accumulate", "2",
                                       "--class-weights", "balanced", "--augment", "pad-crop:2 mixup:0.2",
                                       "--gradient-flow"]], ids=["plain", "everything"])  # fmt: skip
def test_train_and_predict(device, more, tmp_path, undrawn, monkeypatch, capsys):
    """The commands on both devices: the same losses; the model of the GPU's run works on either."""
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)
    program = caller(monkeypatch, capsys)

    def trained(where):
        run = tmp_path / where
        code, _, problem = program("train", "digits", "--model", "lenet5", "--device", where, "--batch-size", "4",
                                   "--fast-dev-run", "--out", str(run), *more)  # fmt: skip
        assert code == 0, problem
        return [record["loss"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()
                if "loss" in (record := json.loads(line))]  # fmt: skip

    there, here = trained(device), trained("cpu")
    assert here
    np.testing.assert_allclose(there, here, rtol=2e-4)

    def predicted(where):
        code, out, problem = program("predict", str(tmp_path / device), str(tmp_path / device / "sample.png"),
                                     "--device", where, "--json")  # fmt: skip
        assert code == 0, problem
        return {k["class"]: k["probability"] for k in json.loads(out)[0]["classes"]}

    on_the_cpu = predicted("cpu")
    for name, share in predicted(device).items():
        np.testing.assert_allclose(share, on_the_cpu[name], atol=1e-4)
