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


def test_validation_images_may_be_given_beside_the_data():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    images, labels = TINY.test.images[:30], TINY.test.labels[:30]
    history = fit(net, TINY, epochs=1, validation=(images, labels), verbose=False)
    batch = data.normalise(images, TINY.mean, TINY.std)
    assert history["val_accuracy"] == [evaluate(net, [(batch, labels)], Tensor, 10).accuracy]
