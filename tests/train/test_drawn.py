"""What the figures of a run show, and validation images that are given to `fit`."""

import numpy as np
import pytest

from minicnn import Tensor, data, nn
from minicnn.train import evaluate, fit, plots
from tests.train.tiny import TINY


def test_the_confusion_matrix_has_mistakes_in_red_and_shares_in_blue(monkeypatch, tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    kept = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *args, **kwargs: kept.append(self))
    matrix = np.array([[1, 0, 0], [2, 5, 1], [0, 3, 9]])
    plots.confusion(matrix, ["a", "b", "c"], tmp_path / "x.png")
    ax = kept[0].axes[0]
    wrong, right = (image.get_array() for image in ax.images)
    np.testing.assert_array_equal(wrong, [[0, 0, 0], [2, 0, 1], [0, 3, 0]])
    assert right.mask.tolist() == (~np.eye(3, dtype=bool)).tolist()
    np.testing.assert_allclose(np.diag(right.data), [1 / 1, 5 / 8, 9 / 12])
    assert {(t.get_position(), t.get_text()) for t in ax.texts} == {
        ((p, t), str(matrix[t, p])) for t, p in np.argwhere(matrix)}  # fmt: skip
    assert {t.get_text() for t in ax.texts if t.get_color() == "white"} == {"2", "3"}, "on the darkest red"
    assert {t.get_text() for t in ax.texts if t.get_weight() == "bold"} == {"1", "5", "9"}
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("prediction", "truth", "15 of 21 right")


def test_the_curves_are_the_losses_the_errors_in_percent_and_the_rates():
    pytest.importorskip("matplotlib")
    records = [{"epoch": n, "loss": 2.0 / n, "accuracy": 0.2 * n, "val_loss": 2.5 / n, "val_accuracy": 0.15 * n,
                "lr": 0.1 / n, "best": n == 2} for n in (1, 2, 3)]  # fmt: skip
    loss, error, rate = plots.curves(records).axes
    wanted = {loss: ([2.0, 1.0, 2 / 3], [2.5, 1.25, 2.5 / 3]), error: ([80, 60, 40], [85, 70, 55]),
              rate: ([0.1, 0.05, 0.1 / 3],)}  # fmt: skip
    for ax, curves in wanted.items():
        found = [line for line in ax.lines if len(line.get_xdata()) == 3]
        assert all(list(line.get_xdata()) == [1, 2, 3] for line in found)
        np.testing.assert_allclose([line.get_ydata() for line in found], curves)
        assert ax.get_ylim()[0] == 0
    for ax in (loss, error):
        assert [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2] == [2], "the best epoch"
    del records[0]["val_loss"], records[0]["val_accuracy"]
    assert [len(ax.lines) for ax in plots.curves(records).axes] == [2, 2, 1], "without validation"


def test_validation_images_may_be_given_beside_the_data():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    images, labels = TINY.test.images[:30], TINY.test.labels[:30]
    history = fit(net, TINY, epochs=1, validation=(images, labels), verbose=False)
    batch = data.normalise(images, TINY.mean, TINY.std)
    assert history["val_accuracy"] == [evaluate(net, [(batch, labels)], Tensor, 10).accuracy]
