"""minicnn visualize RUN picture --what grad-cam"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from minicnn import foreign, inspect
from minicnn.cli import console
from minicnn.cli.import_ import AUTO, PREPROCESSING
from minicnn.cli.model_name import ModelSettings, loaded
from minicnn.cli.net_to_see import with_weights
from minicnn.inspect import deconvnet, grad_cam, occlusion, plots, saliency, units
from minicnn.io import model_file
from minicnn.nn import Conv2d, Module
from minicnn.ops.softmax import softmax
from minicnn.tensor import no_grad


@dataclasses.dataclass(frozen=True)
class Scene:
    """What to draw: a net, a picture before and after preprocessing, a class, a layer, and the file to write."""

    model: Module
    image: np.ndarray
    x: np.ndarray
    probabilities: np.ndarray
    k: int
    name: str
    """The class's."""
    layer: str
    """The one given with --layer, or ""."""
    out: Path
    quiet: bool
    """Without a progress bar."""

    @property
    def share(self) -> str:
        """The class and its probability, for a title."""
        percent = 100 * float(self.probabilities[self.k])
        return f"{self.name} ({percent:.1f} %)" if percent >= 0.1 else f"{self.name} (below 0.1 %)"


def visualize(
    run: Annotated[str, typer.Argument(help="A run folder, a model file, or with --weights NAME or NAME:VARIANT.")],
    image: Annotated[Path, typer.Argument(help="A picture file.")],
    what: Annotated[str, typer.Option(help="filters, maps, saliency, guided, smooth-grad, grad-cam, occlusion or "
                                           "deconvnet.")] = "grad-cam",
    layer: Annotated[str, typer.Option(help="A layer's name, such as features.3; `minicnn summary` lists them.")] = "",
    class_: Annotated[str, typer.Option("--class", help="A class's name or number; default: the most probable.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="The picture to write; by default IMAGE-WHAT.png in the run folder.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for a net of the zoo, as for `minicnn import`.")] = None,
    labels: Annotated[Path | None, typer.Option(help="With --weights: class names.")] = None,
    settings: ModelSettings = None,
    preprocess: Annotated[str, typer.Option(help=f"With --weights: {', '.join(PREPROCESSING)}, auto.")] = AUTO,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture that exists.")] = False,
    as_json: console.Json = False,
):  # fmt: skip
    """Draw what a net sees in a picture: filters, feature maps, and the pixels that are evidence for a class."""
    draw = KINDS[console.choose("kind of picture", what, KINDS)]
    if out is None:
        if not Path(run).is_dir():
            raise console.UsageError(f"--out is missing: {run} is not a run folder that could hold the picture; add "
                                     f"--out {image.stem}-{what}.png, for example")
        out = Path(run) / f"{image.stem}-{what}.png"
    console.check_out(out, console.PICTURES, overwrite=overwrite)
    model, about = _model(run, weights, labels, settings, preprocess)
    if layer:
        units.find_layer(model, layer)                           # refuses a wrong name before anything is computed
    prepare = about.preprocessing
    shown = prepare.read(image)
    x = prepare.normalise(shown[None])
    with model.evaluating(), no_grad():
        probabilities = softmax(model(units.to_tensor(model, x))).numpy()[0]
    k = which(class_, about.classes) if class_ else int(probabilities.argmax())
    name = foreign.terminal(about.classes[k].split(",")[0])
    scene = Scene(model, shown, x, probabilities, k, name, layer, out, as_json)
    report = draw(scene)
    if as_json:
        return console.print_json({"picture": str(out), "what": what, "image": str(image), "class": about.classes[k],
                                   "index": k, "probability": float(probabilities[k]), **report})  # fmt: skip
    console.say(foreign.terminal(f"{out}: {report.pop('said')}"), markup=False)


def which(wanted: str, classes: list[str]) -> int:
    """The index of a class that is given by index, by name, or by one of its comma-separated names."""
    folded = wanted.strip().casefold()
    for match in (lambda name: [name.casefold()], lambda name: [n.strip().casefold() for n in name.split(",")]):
        found = [i for i, name in enumerate(classes) if folded in match(name)]
        if found:
            return found[0]
    if wanted.isdecimal() and int(wanted) < len(classes):
        return int(wanted)
    known = {n.strip(): name for name in classes for n in name.split(",")}
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    count = console.count(len(classes), "class", "classes")
    raise console.UsageError(f"unknown class {wanted!r}: {hint}The model has {count}, from "
                             f"{classes[0]!r} to {classes[-1]!r}, numbered from 0")


def _model(run, weights, labels, settings, preprocess) -> tuple[Module, model_file.Description]:
    if weights:
        return with_weights(run, weights, labels, settings, preprocess)
    if settings:
        raise console.UsageError(f"--set needs --weights: {run} holds a net whose options are fixed")
    return loaded(run)


# ---------------------------------------------------------------------------------------------- one function a picture


def _filters(s: Scene) -> dict:
    name = s.layer or next((n for n, m in s.model.named_modules() if isinstance(m, Conv2d)), "")
    if not name:
        raise ValueError("the net has no convolution, so no filters to draw")
    module = units.find_layer(s.model, name)
    if not isinstance(module, Conv2d):
        raise ValueError(f"the layer {name!r} is a {type(module).__name__} and has no filters: choose a Conv2d")
    w = module.weight.numpy()
    size = "×".join(map(str, w.shape[1:]))
    plots.filters(w, s.out, f"{name}: {len(w)} filters of {size}" + _cut(w))
    return {"layer": name, "filters": len(w), "said": f"the {len(w)} filters of {name}, {size} each"}


def _cut(w) -> str:
    return "" if w.shape[1] in (1, 3) else f"; one filter per row, its first {min(8, w.shape[1])} channels"


def _maps(s: Scene) -> dict:
    if s.layer:
        names = [s.layer]
    else:
        names = [x.name for x in units.map_layers(s.model, s.x.shape[1:]) if x.macs or x.kernel]
        names = names if len(names) <= 16 else [names[round(i * (len(names) - 1) / 15)] for i in range(16)]
    found = units.layer_outputs(s.model, s.x, {name: units.find_layer(s.model, name) for name in names})
    for name, values in found.items():
        if values.ndim != 4:
            raise ValueError(f"the layer {name!r} outputs {values.shape[1:]}, not maps (C, h, w): choose one before")
    if not found:
        raise ValueError(f"the layer {s.layer!r} computes nothing in eval mode: choose another layer")
    title = f"{s.layer}: its brightest maps" if s.layer else "the brightest maps, layer by layer"
    plots.feature_maps(s.image, {name: values[0] for name, values in found.items()}, s.out, title)
    what = f"the maps of {s.layer}" if s.layer else f"the 8 brightest maps of {len(found)} layers"
    return {"layers": list(found), "said": what}


def _saliency(s: Scene) -> dict:
    values = saliency.saliency(s.model, s.x, s.k)[0]
    return _heat(s, values, f"saliency of {s.share}: |∂score/∂pixel|, the largest of the channels", "|∂S/∂x|")


def _smooth(s: Scene) -> dict:
    values = saliency.smooth_grad(s.model, s.x, s.k)[0]
    return _heat(s, values, f"SmoothGrad of {s.share}: the mean gradient over 25 noisy copies", "|mean ∂S/∂x|")


def _guided(s: Scene) -> dict:
    values = saliency.guided_backpropagation(s.model, s.x, s.k)[0]
    plots.signed(s.image, values, s.out, f"guided backpropagation from {s.share}")
    return {"said": f"guided backpropagation from {s.share}"}


def _heat(s: Scene, values, title: str, label: str) -> dict:
    limit = float(np.quantile(values, 0.995))              # a single pixel must not make all others dark
    plots.heatmap(s.image, np.minimum(values, limit or 1), s.out, title, label)
    i, j = np.unravel_index(int(values.argmax()), values.shape)
    return {"strongest": [int(i), int(j)], "said": title}


def _grad_cam(s: Scene) -> dict:
    name = s.layer or units.last_convolution(s.model, s.x.shape[1:])
    values = grad_cam.grad_cam(s.model, s.x, s.k, units.find_layer(s.model, name))[0]
    why = "" if s.layer else ", the last convolution"
    title = f"Grad-CAM of {s.share} at {name}{why}"
    plots.heatmap(s.image, values, s.out, title, "Σ α·A, above 0")
    return {"layer": name, "size": list(values.shape), "map": values.tolist(), "said": title}


def _occlusion(s: Scene) -> dict:
    size = max(1, min(s.x.shape[2:]) // 6)
    stride = max(1, size // 4)
    p = occlusion.occlusion(s.model, s.x, s.k, size, stride,
                            progress=lambda work: console.track(work, "covering", s.quiet))  # fmt: skip
    title = f"{s.share}: its probability with {size}×{size} pixels covered; bright where it falls"
    plots.heatmap(s.image, occlusion.mean_per_pixel(p, s.image.shape[1:], size, stride), s.out, title, "probability",
                 reverse=True)  # fmt: skip
    return {"size": size, "stride": stride, "least": float(p.min()), "map": p.tolist(), "said": title}


def _deconvnet(s: Scene) -> dict:
    shape = s.x.shape[1:]
    name = s.layer or units.last_convolution(s.model, shape)
    module = units.find_layer(s.model, name)
    values = units.layer_outputs(s.model, s.x, {name: module}).get(name)
    if values is None or values.ndim != 4:
        raise ValueError(f"the layer {name!r} outputs no maps (C, h, w): choose a convolution, or a block of them")
    found, report = [], []
    for c, i, j in deconvnet.brightest_units(values[0], 9):
        rows, columns = inspect.box(s.model, shape, name, i, j)
        part = (slice(None), slice(*rows), slice(*columns))
        projection = deconvnet.deconvnet(s.model, s.x, module, (c, i, j))[0]
        found.append(plots.Projection(f"map {c}\nat {i}, {j}", s.image[part], projection[part]))
        report.append({"map": c, "at": [i, j], "value": float(values[0, c, i, j]), "rows": rows, "columns": columns})
    why = "" if s.layer else ", the last convolution"
    title = f"deconvnet: the pixels that activate the {len(found)} brightest units of {name}{why}"
    plots.projections(s.image, found, s.out, title)
    return {"layer": name, "units": report, "said": title}


KINDS: dict[str, Callable[[Scene], dict]] = {
    "filters": _filters, "maps": _maps, "saliency": _saliency, "guided": _guided, "smooth-grad": _smooth,
    "grad-cam": _grad_cam, "occlusion": _occlusion, "deconvnet": _deconvnet,
}  # fmt: skip
