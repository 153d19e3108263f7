"""Transfer learning: heads found, bodies frozen, linear classifiers at their minimum, mistakes named."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from minicnn import Tensor, data, models, no_grad, optim, seed
from minicnn.io import model_file
from minicnn.io.weights import load_into, save_weights
from minicnn.ops.softmax import softmax
from minicnn.train import Config, Run, body, linear_head, train_epoch
from minicnn.train.transfer import transfer as adapt
from tests.program import caller, document, sentence
from tests.train.tiny import TINY, folder_of_pictures


@pytest.fixture
def minicnn_(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


def built(name, side, **options):
    options = {"num_classes": 5, "in_channels": 3, **options}
    seed(0)
    return models.build(name, **options), options, Tensor(np.zeros((1, 3, side, side), np.float32))


# ------------------------------------------------------------------------------------------------------------ the head

HEADS = {
    "squeezenet1_1": ("classifier.1", {"width": 0.125}, 64), "resnet18": ("fc", {"width": 0.125}, 64),
    "mobilenet_v2": ("classifier.1", {"width": 0.125}, 64), "densenet121": ("classifier", {}, 64),
    "googlenet": ("fc", {"width": 0.125}, 64), "lenet5": ("classifier.5", {}, 28), "resnet20": ("fc", {}, 32),
    "mobilenet_v1": ("classifier", {"width": 0.125}, 64),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_the_head_is_what_the_number_of_classes_changes(name):
    wanted, options, side = HEADS[name]
    model, options, image = built(name, side, **options)
    found = body.split(model, name, options, image)
    assert found.name == wanted
    assert found.layer.weight.shape[0] == 5
    assert found.name in found.new


def test_weights_of_other_classes_are_loaded_into_the_body_alone(tmp_path):
    theirs, _, _ = built("squeezenet1_1", 64, num_classes=9, width=0.125)
    save_weights(tmp_path / "nine.npz", theirs.state_dict())
    model, options, image = built("squeezenet1_1", 64, width=0.125)
    for array in model.state_dict().values():
        assert array.size
    split = body.split(model, "squeezenet1_1", options, image)
    before = model.state_dict()
    load_into(model, tmp_path / "nine.npz", skip=split.new)
    for name, array in model.state_dict().items():
        expected = before[name] if name.startswith("classifier.1.") else theirs.state_dict()[name]
        assert np.array_equal(array, expected), name
    other, options, image = built("squeezenet1_1", 64, width=0.25)
    with pytest.raises(ValueError, match=r"nine\.npz: the state does not fit this SqueezeNet: misshapen: "):
        load_into(other, tmp_path / "nine.npz", skip=body.split(other, "squeezenet1_1", options, image).new)


def test_a_last_layer_for_certain_classes_alone_is_told():
    options = {"num_classes": 10, "in_channels": 1, "variant": "1998"}
    with pytest.raises(ValueError) as error:
        body.split(models.build("lenet5", **options), "lenet5", options, Tensor(np.zeros((1, 1, 32, 32), np.float32)))
    assert str(error.value).startswith("the last layer of lenet5 is not one for any number of classes, so it can't be "
                                       "solved (num_classes (=11) must be at most 10")
    assert "use rbf=False" in str(error.value)


def test_a_model_file_names_its_net_with_all_options_and_small_images_get_a_margin(minicnn_, tmp_path, monkeypatch):
    """The body was trained on 32×32; the digits have 28×28. C5 of the file is a convolution: the variant is known."""
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)
    options = {"num_classes": 7, "in_channels": 1, "variant": "1998", "rbf": False}
    theirs = models.build("lenet5", **options)
    prepare = data.Preprocessing((32, 32), TINY.mean, TINY.std, channels=1, margin=(4, 4), background=(0, 0, 0))
    model_file.save(tmp_path / "seven.safetensors", theirs,
                    model_file.Description.of("lenet5", options, [str(k) for k in range(7)], prepare))
    rc, _, err = minicnn_("transfer", "digits", "--weights", tmp_path / "seven.safetensors", "--json", "--out",
                          tmp_path / "run")
    assert (rc, err) == (0, "")
    model, about = model_file.load(tmp_path / "run" / "best.safetensors")
    assert about.options == {**options, "num_classes": 10}
    assert (about.input, about.margin, about.background) == ([1, 32, 32], [4, 4], [0, 0, 0])
    for name, array in theirs.state_dict().items():
        if not name.startswith("output"):
            assert np.array_equal(array, model.state_dict()[name]) or "classifier" in name, name


def test_what_learns_is_what_was_named():
    model, options, image = built("squeezenet1_1", 64, width=0.125)
    split = body.split(model, "squeezenet1_1", options, image)
    names = [name for name, _ in model.named_parameters()]
    own = ["classifier.1.weight", "classifier.1.bias"]
    assert body.freeze(model, split) == own
    assert body.freeze(model, split, "features.12") == [n for n in names if n.startswith("features.12.")] + own
    late = body.freeze(model, split, "features.9-")
    assert late[0] == "features.9.squeeze.weight"
    assert {n.split(".")[1] for n in late if n.startswith("features")} == {"9", "10", "11", "12"}, "not features.90"
    assert body.freeze(model, split, "all") == names
    assert body.freeze(model, split, "features.0, features.12.squeeze") == [
        n for n in names if n.startswith(("features.0.", "features.12.squeeze."))] + own  # fmt: skip
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name in own or name.startswith(("features.0.", "features.12.squeeze.")))
    with pytest.raises(ValueError, match=r"^unfreeze: unknown part 'feature\.9': did you mean 'features\.9'\? Known: "):
        body.freeze(model, split, "feature.9-")


def test_rates_fall_towards_the_input():
    model, options, image = built("squeezenet1_1", 64, width=0.125)
    split = body.split(model, "squeezenet1_1", options, image)
    body.freeze(model, split, "features.11-")
    groups = body.groups(model, split, lr=0.1, body=0.5, decay=0.3)
    assert [g["lr"] for g in groups] == pytest.approx([0.1, 0.05, 0.015])
    names = {id(p): name for name, p in model.named_parameters()}
    of = [{names[id(p)].split(".")[1] for p in g["params"]} for g in groups]
    assert of == [{"1"}, {"12"}, {"11"}]
    optim.SGD(groups, 1.0)


def test_a_frozen_body_with_batch_norm_does_not_move_and_the_trap_is_real():
    """Training with the body's weights fixed, but its batch norm in training mode, spoils its running statistics."""
    rng = np.random.default_rng(0)
    batches = [(rng.normal(2, 3, (4, 3, 32, 32)).astype(np.float32), rng.integers(0, 5, 4)) for _ in range(3)]

    def trained(freeze):
        model, options, image = built("resnet20", 32)
        split = body.split(model, "resnet20", options, image)
        before = model.state_dict()
        if freeze:
            body.freeze(model, split)
        else:
            for name, p in model.named_parameters():
                p.requires_grad = name.startswith("fc.")
        optimizer = optim.SGD(body.groups(model, split, 0.1, 0.1, 0.8), 0.1)
        train_epoch(model, batches, Tensor, optimizer, optim.ConstantLR(optimizer))
        return {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}

    assert trained(freeze=True) == {"fc.weight", "fc.bias"}
    assert any("running" in name for name in trained(freeze=False))


# ----------------------------------------------------------------------------------------------------- solving a head


def test_the_minimum_of_a_quadratic_and_of_rosenbrocks_valley():
    A = np.diag([1.0, 10.0, 1000.0])
    A[0, 1] = A[1, 0] = 0.5
    b = np.array([1.0, -2.0, 3.0])
    x = linear_head.minimise(lambda x: (x @ A @ x / 2 - b @ x, A @ x - b), np.zeros(3), tolerance=1e-9)
    np.testing.assert_allclose(x, np.linalg.solve(A, b), rtol=1e-7)

    def valley(v):
        x, y = v
        up = y - x * x
        return (1 - x) ** 2 + 100 * up**2, np.array([-2 * (1 - x) - 400 * x * up, 200 * up])

    np.testing.assert_allclose(linear_head.minimise(valley, np.array([-1.2, 1.0]), tolerance=1e-9), [1, 1], rtol=1e-6)


def test_a_flat_function_needs_hardly_more_steps_than_unknowns():
    """With the estimate of the Hessian begun at sᵀy/yᵀy, as Nocedal says; begun at 1 it takes 198."""
    curvature, best, computed = np.geomspace(1e-3, 1e-1, 6), np.arange(1.0, 7), []

    def value(x):
        computed.append(x)
        return (curvature * (x - best) ** 2).sum() / 2, curvature * (x - best)

    np.testing.assert_allclose(linear_head.minimise(value, np.zeros(6), tolerance=1e-9), best, rtol=1e-6)
    assert len(computed) < 60


def test_the_head_is_at_the_minimum(rng):
    """A function that is strictly convex has its minimum where its gradient is 0, here counted by a loop."""
    V, N, F, K, strength = 2, 30, 4, 3, 0.05
    labels = rng.integers(0, K, N)
    x = rng.normal(0, 1, (V, N, F)) * [1, 5, 0.1, 2] + rng.normal(0, 1, (K, F))[labels]
    counts = rng.uniform(0.5, 2, N)
    W, b = linear_head.solve(x, labels, K, strength, counts)
    rows = x.reshape(-1, F)
    mean, deviation = rows.mean(0), rows.std(0)
    deviation = deviation + 0.05 * deviation.mean()
    scaled = W * deviation                                                     # W for features of deviation 1
    dW, db = strength * scaled, np.zeros(K)
    for v in range(V):
        for n in range(N):
            z = W @ x[v, n] + b
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            p[labels[n]] -= 1
            p *= counts[n] / (V * counts.sum())
            dW += np.outer(p, (x[v, n] - mean) / deviation)
            db += p
    assert np.abs(dW).max() < 2e-6
    assert np.abs(db).max() < 2e-6


def test_cross_validation_leaves_pictures_out_with_all_their_views(rng, monkeypatch):
    labels = np.repeat([0, 1, 2], [10, 7, 5])
    seen = []

    def solve(features, labels, classes, strength, counts):
        seen.append(features)
        assert features.shape[:2] == (2, len(labels))
        return np.zeros((classes, 1)), np.zeros(classes)

    monkeypatch.setattr(linear_head, "solve", solve)
    numbers = np.stack([np.arange(22.0), np.arange(22.0)])[:, :, None]          # a picture's feature is its number
    linear_head.fit(numbers, labels, 3)
    out = [np.setdiff1d(np.arange(22), features[0, :, 0]) for features in seen[:5]]
    assert sorted(np.concatenate(out).tolist()) == list(range(22)), "each picture is left out once"
    assert all(np.array_equal(features[0], features[1]) for features in seen)
    counts = [np.bincount(labels[o], minlength=3).tolist() for o in out]
    assert counts == [[2, 2, 1], [2, 2, 1], [2, 1, 1], [2, 1, 1], [2, 1, 1]]
    assert seen[-1].shape == (2, 22, 1), "in the end all of them"


def test_few_pictures_and_separable_ones(rng):
    x = np.concatenate([rng.normal(-3, 1, (3, 2)), rng.normal(3, 1, (2, 2))])
    solved = linear_head.fit(x[None], np.array([0, 0, 0, 1, 1]), 2)
    assert ((x @ solved.weight.T + solved.bias).argmax(1) == [0, 0, 0, 1, 1]).all()
    assert solved.strength in linear_head.LAMBDAS
    assert solved.tried[solved.strength][0] == min(loss for loss, _ in solved.tried.values())


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet20"])
def test_a_head_that_was_put_in_gives_the_probabilities_it_was_solved_for(rng, name):
    """Also behind SqueezeNet's ReLU, and after averaging the scores of 2 × 2 places instead of their features."""
    model, options, image = built(name, 64, **({"width": 0.125} if name == "squeezenet1_1" else {}))
    split = body.split(model, name, options, image)
    pictures = rng.normal(0, 1, (12, 3, 64, 64)).astype(np.float32)
    x, _ = body.features(model, split, [(pictures, np.arange(12) % 5)], Tensor)
    assert x.shape == (12, 64)
    W, b = rng.normal(0, 3, (5, 64)), rng.normal(0, 1, 5)
    body.put_in(split, W, b, x)
    z = x @ W.T + b
    wanted = np.exp(z - z.max(1, keepdims=True))
    with no_grad():
        found = softmax(model(Tensor(pictures))).numpy()
    np.testing.assert_allclose(found, wanted / wanted.sum(1, keepdims=True), atol=2e-4)


# ------------------------------------------------------------------------------------------------- from end to end


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """(a folder of pictures, a model file of a net that learned four other classes, a run folder of its transfer)"""
    place, rng = tmp_path_factory.mktemp("transfer"), np.random.default_rng(0)
    folder = folder_of_pictures(place / "shapes", rng, per_class=12)
    model, options, _ = built("squeezenet1_1", 32, num_classes=4, width=0.25)
    prepare = data.Preprocessing((32, 32), (0.3, 0.3, 0.3), (0.2, 0.2, 0.2))
    model_file.save(place / "body.safetensors", model, model_file.Description.of(
        "squeezenet1_1", options, ["a", "b", "c", "d"], prepare))
    settings = Config(dataset=str(folder), model="squeezenet1_1", options={"width": 0.25}, size=32, fit="stretch",
                      weights=str(place / "body.safetensors"), validation=0.0, test=0.25, device="cpu")
    run = adapt(settings, place / "run")
    run.train()
    return folder, place / "body.safetensors", place / "run", run.test()


def test_a_frozen_body_and_a_solved_head(learned):
    _, body, where, result = learned
    assert result.confusion.sum() == 6
    assert result.accuracy == 1.0, "a disc is no stripe, even to random filters"
    told = json.loads((where / "head.json").read_text())
    assert told["normalisation"] == [[0.3, 0.3, 0.3], [0.2, 0.2, 0.2]], "as the model file says"
    assert (told["pictures"], told["views"], told["head"]) == (18, 2, "classifier.1")
    model, about = model_file.load(where / "best.safetensors")
    assert about.classes == ["discs", "stripes"]
    assert (about.fit, about.mean) == ("stretch", [0.3, 0.3, 0.3])
    theirs = model_file.load(body)[0].state_dict()
    for name, array in model.state_dict().items():
        if not name.startswith("classifier.1"):
            assert np.array_equal(array, theirs[name]), name
    again = Run.resume(where)
    assert again.finished
    assert again.train() == []


def test_unfrozen_parts_learn_on_from_there(learned, tmp_path):
    folder, body, _, _ = learned
    settings = Config(dataset=str(folder), model="squeezenet1_1", options={"width": 0.25}, size=32, fit="stretch",
                      weights=str(body), unfreeze="features.12", epochs=2, batch_size=4, validation=0.2, lr=1e-3,
                      checkpoint_steps=1)
    run = adapt(settings, tmp_path / "run")
    records = run.train()
    assert len(records) == 2
    theirs, last = model_file.load(body)[0].state_dict(), model_file.load(tmp_path / "run" / "last.safetensors")[0]
    moved = {name for name, array in last.state_dict().items() if not np.array_equal(array, theirs[name])}
    assert moved == {n for n in theirs if n.startswith(("features.12.", "classifier.1."))}
    again = Run.resume(tmp_path / "run")
    assert again.train() == records


def test_the_beginning_is_kept_where_no_epoch_is_better(learned, tmp_path):
    """At such a rate nothing moves, so that every epoch is as good as the beginning, and none is better."""
    folder, body, _, _ = learned
    settings = Config(dataset=str(folder), model="squeezenet1_1", options={"width": 0.25}, size=32, fit="stretch",
                      weights=str(body), unfreeze="features.12", epochs=2, batch_size=4, validation=0.2, lr=1e-30)
    run = adapt(settings, tmp_path / "run")
    start = (tmp_path / "run" / "head.safetensors").read_bytes()
    assert [r["best"] for r in run.train()] == [False, False]
    kept = model_file.load(tmp_path / "run" / "best.safetensors")[0].state_dict()
    first = safetensors.numpy.load(start)
    assert kept.keys() == first.keys()
    assert all(np.array_equal(kept[k], first[k]) for k in first)


@pytest.mark.parametrize(("given", "found"), [("caffe", "caffe"), ("imagenet", "imagenet")])
def test_what_a_body_knows_is_found_out_by_trying(learned, tmp_path, given, found, monkeypatch):
    """A normalisation that makes all features 0 cannot win."""
    from minicnn.train import transfer as module

    folder, body, _, _ = learned
    save_weights(tmp_path / "bare.npz", model_file.load(body)[0].state_dict())
    flat = ((0.5,) * 3, (1e6,) * 3)
    table = {name: flat for name in module.NORMALISATIONS} | {given: module.NORMALISATIONS[given]}
    monkeypatch.setattr(module, "NORMALISATIONS", table)
    settings = Config(dataset=str(folder), model="squeezenet1_1", options={"width": 0.25}, size=32, fit="stretch",
                      weights=str(tmp_path / "bare.npz"), validation=0.0)
    adapt(settings, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "head.json").read_text())["normalisation"] == found


@pytest.mark.usefixtures("undrawn")
def test_the_verbs(minicnn_, learned, tmp_path):
    folder, body, _, _ = learned
    run = tmp_path / "run"
    command = ("transfer", folder, "--weights", body, "--size", 32, "--test", 0.25)
    rc, out, err = minicnn_(*command, "--set", "width=0.5", "--out", run)
    assert "misshapen" in sentence(err, 1, rc), "the model file's width is 0.25"
    assert not run.exists()
    rc, out, err = minicnn_(*command, "--out", run)
    assert (rc, err) == (0, "")
    assert model_file.description(run / "best.safetensors").options["width"] == 0.25
    assert "128 features of 18 pictures in 2 views, computed once" in out
    assert "in cross-validation on the training pictures" in out
    assert "shapes, test: " in out
    rc, out, err = minicnn_(*command, "--out", tmp_path / "two", "--json", "--unfreeze", "features.12", "--epochs", 1)
    assert (rc, err) == (0, "")
    report = document(out)
    assert (rc, len(report["epochs"]), report["test"]["confusion"]) == (0, 1, report["test"]["confusion"])
    assert report["head"]["learns"][0] == "features.12.squeeze.weight"
    rc, out, err = minicnn_(*command, "--out", run)
    assert "already holds a run" in sentence(err, 1, rc)
    rc, out, err = minicnn_("eval", run, "--json")
    evaluated = document(out)
    assert evaluated["images"] == 6
    stored = json.loads((run / "test.json").read_text())
    assert evaluated["confusion"] == stored["confusion"]
    assert [c["images"] for c in evaluated["per_class"]] == [3, 3]
    assert evaluated["top5"] == 1.0
    rc, out, err = minicnn_("eval", run, "--data", folder, "--json")
    everything = document(out)
    assert everything["images"] == 24, "all pictures of another folder"
    shutil.copytree(folder, tmp_path / "turned")
    (tmp_path / "turned" / "classes.txt").write_text("stripes\ndiscs\n")
    rc, out, err = minicnn_("eval", run, "--data", tmp_path / "turned", "--json")
    assert document(out)["confusion"] == everything["confusion"], "by the classes' names, whatever their order there"
    (tmp_path / "other").mkdir()
    folder_of_pictures(tmp_path / "other" / "f", np.random.default_rng(1), per_class=2, classes=("discs", "stars"))
    rc, out, err = minicnn_("eval", run, "--data", tmp_path / "other" / "f")
    assert "has the class 'stars', which the model does not have; it has discs, stripes" in sentence(err, 1, rc)
    picture = next((folder / "discs").iterdir())
    rc, out, err = minicnn_("predict", run, picture, "--json")
    (answer,) = document(out)
    model, _ = model_file.load(run / "best.safetensors")
    with no_grad():
        image = np.asarray(Image.open(picture).resize((32, 32), Image.Resampling.BILINEAR), np.float32)
        x = (image.transpose(2, 0, 1) / 255 - 0.3) / 0.2
        p = softmax(model(Tensor(x[None].astype(np.float32)))).numpy()[0]
    assert answer["classes"][0]["probability"] == pytest.approx(float(p.max()), abs=1e-5)


def test_a_folder_that_no_head_can_be_solved_for(minicnn_, learned, tmp_path):
    folder, body, _, _ = learned
    (tmp_path / "one" / "only").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "only" / "a.png")
    rc, _, err = minicnn_("transfer", tmp_path / "one", "--weights", body, "--size", 32)
    assert "has one class, 'only'" in sentence(err, 1, rc)
    rc, _, err = minicnn_("transfer", folder, "--weights", tmp_path / "none.npz", "--model", "resnet18", "--size", 32)
    assert sentence(err, 1, rc) == f"there is no weights file {tmp_path / 'none.npz'}: check the name and the folder"
    for name in ("a", "b"):                                        # one picture in each class, and none is kept
        (tmp_path / "two" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "two" / name / "a.png")
    rc, _, err = minicnn_("transfer", tmp_path / "two", "--weights", body, "--size", 32, "--test", 0)
    assert "keeps no picture to validate or to test" in sentence(err, 1, rc)
    assert not (tmp_path / "runs").exists()
