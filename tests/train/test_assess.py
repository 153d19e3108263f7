"""Picture by picture: what a net gets right, and its worst mistakes."""


import numpy as np
import pytest
from PIL import Image

from minicnn import Tensor, models, no_grad, seed
from minicnn.data.folder import Files
from minicnn.io import model_file
from minicnn.ops.softmax import cross_entropy, softmax
from minicnn.train.assess import Assessment, assess
from tests.train.tiny import folder_of_pictures


def assessment():
    labels = np.array([0, 0, 1, 1, 2, 2])
    top = np.array([[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [0, 1, 2]])
    shares = np.array([[0.9, 0.1, 0], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1],
                       [0.8, 0.2, 0]])
    confusion = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    return Assessment(1.0, confusion, labels, top, shares, [f"{i}.png" for i in range(6)])


def test_top_k_classes_and_the_worst_mistakes_by_hand():
    a = assessment()
    assert [a.top_accuracy(k) for k in (1, 2, 3)] == [3 / 6, 4 / 6, 1.0]
    assert a.worst(5).tolist() == [3, 5, 1], "of equals the first"
    assert a.worst(1).tolist() == [3]
    assert a.of_class(1) == {"images": 2, "right": 1, "recall": 0.5, "precision": 0.5, "taken_for": 2}
    a.confusion[0] = a.confusion[:, 0] = 0
    assert a.of_class(0) == {"images": 0, "right": 0, "recall": None, "precision": None, "taken_for": None}


def test_assessing_is_what_a_loop_finds(rng):
    seed(0)
    model = models.build("resnet20", num_classes=5)
    images, labels = rng.normal(0, 1, (7, 3, 32, 32)).astype(np.float32), rng.integers(0, 5, 7)
    found = assess(model, [(images[:4], labels[:4]), (images[4:], labels[4:])], Tensor, 5, [str(i) for i in range(7)])
    with no_grad():
        for i in range(7):
            logits = model(Tensor(images[i : i + 1]))
            p = softmax(logits).numpy()[0]
            assert found.top[i].tolist() == sorted(range(5), key=lambda k: -p[k])
            np.testing.assert_allclose(found.probabilities[i], sorted(p, reverse=True), rtol=1e-4)
        total = sum(cross_entropy(model(Tensor(images[i : i + 1])), labels[i : i + 1]).item() for i in range(7))
    assert found.loss == pytest.approx(total / 7, rel=1e-5)
    assert found.confusion.sum() == 7
    with pytest.raises(ValueError, match=r"^assess: there are no pictures to evaluate$"):
        assess(model, [], Tensor, 5, [])


def test_the_gallery_of_mistakes(tmp_path, rng):
    from minicnn.train import plots

    folder_of_pictures(tmp_path / "f", rng, per_class=3, classes=("a", "b"))
    names = tuple(f"{c}/{i:02}.png" for c in "ab" for i in range(3))
    files = Files(tmp_path / "f", names, np.array([0, 0, 0, 1, 1, 1]))
    about = model_file.Description("lenet5", {}, ["a $x$", "b, c"], [3, 20, 20], [0.5] * 3, [0.5] * 3)
    top = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 1], [1, 0]])
    a = Assessment(1.0, np.array([[2, 1], [1, 2]]), files.labels, top, np.full((6, 2), 0.5), ["name$of[a]file.png"] * 6)
    plots.mistakes(a, files, about, tmp_path / "worst.png")
    with Image.open(tmp_path / "worst.png") as drawn:
        assert drawn.size == (int(2 * 2.6 * 120), int(2.9 * 120))
