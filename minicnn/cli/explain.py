"""minicnn explain conv | unit | pool | flip | conv1d | softmax | step"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minicnn.cli import console
from minicnn.cli.model_name import InputSize, ModelSettings

if TYPE_CHECKING:
    from minicnn.explain.answer import Answer

app = typer.Typer(no_args_is_help=True, add_completion=False,
                  help="Show a formula with the numbers in it: one number of a convolution, a pooling, a net, a step.")

WIDTH = 100
"""Columns of an explanation on a pipe, and the most in a terminal."""

Out = Annotated[Path | None, typer.Option(help="Also write a picture: .png, .jpg, .svg or .pdf.")]
Cell = Annotated[str, typer.Option(help="ROW,COLUMN of the map, from 0; by default the largest number.")]
Image = Annotated[str, typer.Argument(help="A picture file, digits:N, or mouse, edge, slash, backslash, vertical, "
                                           "horizontal, dot, numbers.")]
Filter = Annotated[str, typer.Option("--filter", help="vertical, horizontal, diagonal, antidiagonal, curve, "
                                                      "numbers, or a file with a row of numbers on each "
                                                      "line, or .npy.")]  # fmt: skip
Model = Annotated[str, typer.Argument(help="A run folder, a model file, a net of the zoo, or FILE.py::NET of your own; "
                                           "without --weights those two are random.")]  # fmt: skip
Weights = Annotated[Path | None, typer.Option(help="Weights for NAME or FILE.py::NET.")]
Labels = Annotated[Path | None, typer.Option(help="With --weights of a net of the zoo: class names.")]
Preprocess = Annotated[str, typer.Option(help="With --weights, and for FILE.py::NET: how pictures are normalised: "
                                              "imagenet, caffe, inception, none, auto.")]  # fmt: skip


@app.command("conv")
def conv(
    image: Image = "mouse",
    filter_: Filter = "curve",
    cell: Cell = "",
    stride: Annotated[int, typer.Option("--stride", "-s", help="Step of the window.", min=1)] = 1,
    padding: Annotated[int, typer.Option("--padding", "-p", help="Zeros added on each side.", min=0)] = 0,
    bias: Annotated[float, typer.Option(help="Is added to every number of the map.")] = 0.0,
    out: Out = None,
    as_json: console.Json = False,
):
    """Apply a filter to a picture: window × filter = products, their sum, and the map of all windows."""
    from minicnn import explain

    show(lambda: explain.conv(image, filter_, numbers("--cell", cell, 2), stride, padding, bias), as_json, out)


@app.command("unit")
def unit(
    model: Model,
    image: Annotated[str, typer.Argument(help="A picture file, or digits:N.")],
    layer: Annotated[str, typer.Option(help="A layer's name, such as features.3; `minicnn summary` lists them. By "
                                            "default the first with weights.")] = "",
    at: Annotated[str, typer.Option("--unit", help="CHANNEL,ROW,COLUMN or FEATURE of its output, from 0; by default "
                                                   "the largest number.")] = "",
    class_: Annotated[str, typer.Option("--class", help="The class whose score the gradient is of: a name or a "
                                                        "number; by default the most probable.")] = "",
    weights: Weights = None,
    labels: Labels = None,
    settings: ModelSettings = None,
    input_size: InputSize = "",
    preprocess: Preprocess = "auto",
    seed: Annotated[int, typer.Option(help="Of random weights.", min=0)] = 0,
    out: Out = None,
    as_json: console.Json = False,
):  # fmt: skip
    """Work out one number of a net: what it reads, window × filter + bias, and the gradient back to the window."""
    from minicnn import explain

    net, about, x = _prepared(model, image, seed, weights, labels, settings, input_size, preprocess)
    k = _class(class_, about.classes)
    at_ = numbers("--unit", at)
    show(lambda: explain.unit(net, x, layer, at_, k, about.classes), as_json, out)


@app.command("pool")
def pool(
    image: Image = "numbers",
    kind: Annotated[str, typer.Option(help="max, average, l2, or all of them.")] = "all",
    kernel: Annotated[int, typer.Option("--kernel", "-k", help="Rows and columns of a window.", min=1)] = 2,
    stride: Annotated[int, typer.Option("--stride", "-s", help="Step of the window; 0: the kernel's size.", min=0)] = 0,
    padding: Annotated[int, typer.Option("--padding", "-p", help="Pixels added on each side.", min=0)] = 0,
    cell: Annotated[str, typer.Option(help="ROW,COLUMN of the output, from 0.")] = "0,0",
    out: Out = None,
    as_json: console.Json = False,
):
    """Pool one window: the maximum with its winner, the average, the L2 norm, and where each sends its gradient."""
    from minicnn import explain

    at = numbers("--cell", cell, 2) or (0, 0)
    show(lambda: explain.pool(image, kind, kernel, stride or None, padding, at), as_json, out)


@app.command("flip")
def flip(image: Image = "dot", filter_: Filter = "numbers", cell: Cell = "", out: Out = None,
         as_json: console.Json = False):  # fmt: skip
    """Compare a convolution with the cross-correlation that nets compute: the same filter, turned by 180° or not."""
    from minicnn import explain

    show(lambda: explain.flip(image, filter_, numbers("--cell", cell, 2)), as_json, out)


@app.command("conv1d")
def conv1d(
    f: Annotated[str, typer.Option("--f", help="box (1 on [0, 1]) or ramp (t on [0, 1]).")] = "box",
    g: Annotated[str, typer.Option("--g", help="box or ramp.")] = "ramp",
    t: Annotated[str, typer.Option("--t", help="Where: a number such as 0.5 or 1/2.")] = "1/2",
    samples: Annotated[int, typer.Option(help="Samples of the sum that approaches the integral.", min=1)] = 1000,
    steps: Annotated[int, typer.Option(help="Steps of the sliding picture from t = 0 to 2.", min=1, max=64)] = 8,
    out: Out = None,
    as_json: console.Json = False,
):
    """Convolve two functions: the exact integral at t, the same as a sum, and the picture of g sliding over f."""
    from minicnn import explain

    show(lambda: explain.conv1d(f, g, t, samples, steps), as_json, out)


@app.command("softmax", context_settings={"ignore_unknown_options": True})
def softmax(
    scores: Annotated[str, typer.Argument(help="The scores, with commas: 2,1,-1.")] = "2,1,-1",
    label: Annotated[int | None, typer.Option(help="Also the loss and its gradient for this class.", min=0)] = None,
    shift: Annotated[float, typer.Option(help="Is added to every score: the probabilities stay the same.")] = 100.0,
    out: Out = None,
    as_json: console.Json = False,
):
    """Turn scores into probabilities, number by number; what a shift of all scores changes; the loss of a label."""
    from minicnn import explain

    try:
        values = [float(word) for word in scores.split(",")]
    except ValueError:
        raise console.UsageError(f"the scores {scores!r} must be numbers with commas, such as 2,1,-1") from None
    show(lambda: explain.softmax(values, label, shift), as_json, out)


@app.command("step")
def step(
    model: Annotated[str, typer.Argument(help="A run folder, a model file, a net of the zoo, or FILE.py::NET of your "
                                              "own; without one, a single neuron y = w·x + b.")] = "",
    image: Annotated[str, typer.Argument(help="With a net: a picture file, or digits:N.")] = "",
    label: Annotated[str, typer.Option(help="With a net: the right class, a name or a number; digits:N knows "
                                            "it.")] = "",
    weight: Annotated[str, typer.Option(help="With a net: the weight to show, such as features.0.weight.")] = "",
    index: Annotated[str, typer.Option(help="With --weight: which number of it, such as 0,0,2,2.")] = "",
    lr: Annotated[float, typer.Option(help="The learning rate.")] = 0.1,
    x: Annotated[float, typer.Option("--x", help="The neuron's input.")] = 1.5,
    target: Annotated[float, typer.Option(help="What the neuron should answer.")] = 0.5,
    w: Annotated[float, typer.Option("--w", help="The neuron's weight.")] = 0.8,
    b: Annotated[float, typer.Option("--b", help="The neuron's bias.")] = 0.1,
    weights: Weights = None,
    labels: Labels = None,
    settings: ModelSettings = None,
    input_size: InputSize = "",
    preprocess: Preprocess = "auto",
    seed: Annotated[int, typer.Option(help="Of random weights.", min=0)] = 0,
    out: Out = None,
    as_json: console.Json = False,
):  # fmt: skip
    """Take one step of gradient descent: loss, gradient and finite difference, weight before and after, loss after."""
    from minicnn import explain

    if not model:
        if label or weight or index or weights or labels or settings or input_size:
            raise console.UsageError("--label, --weight, --index, --weights, --labels, --set and --input are for a "
                                     "net: name one, such as lenet5 digits:0")
        return show(lambda: explain.neuron(x, target, w, b, lr), as_json, out)
    if not image:
        raise console.UsageError("the picture is missing: name a file, or digits:0, after the net")
    net, about, inputs = _prepared(model, image, seed, weights, labels, settings, input_size, preprocess)
    k = _class(label, about.classes)
    if k is None and image.startswith("digits"):
        from minicnn.explain.samples import label_of

        k = label_of(image)
    if k is None:
        raise console.UsageError(f"--label is missing: the loss needs the right class of {image}")
    import numpy as np

    at = numbers("--index", index)
    show(lambda: explain.step(net, inputs[None], np.array([k]), weight, at, lr), as_json, out)


def show(make: Any, as_json: bool, out: Path | None) -> None:
    """Compute an answer, print it, and draw it where --out asks for that."""
    if out is not None:
        console.check_out(out, console.PICTURES)
    from minicnn.cpu.path import cpu_path

    with cpu_path("numpy"):                                # for one picture, no kernel is worth compiling
        answer: Answer = make()
    if out is not None:
        from minicnn.explain import draw

        draw(answer, out)
    if as_json:
        console.print_json({**answer.as_dict(), **({"picture": str(out)} if out else {})})
        return
    text = answer.text(min(console.out.width, WIDTH)) + (f"\n\n{out}: the same as a picture" if out else "")
    console.out.print(console.clean(text), markup=False, soft_wrap=True)


def numbers(option: str, text: str, count: int = 0) -> Any:
    """(3, 4) for "3,4"; None for ""."""
    if not text:
        return None
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words) or (count and len(words) != count):
        what = f"{count} whole numbers from 0" if count else "whole numbers from 0"
        raise console.UsageError(f"{option} {text!r} must be {what} with commas, such as "
                                 f"{','.join('34567'[:count or 3])}")
    return tuple(int(word) for word in words)


def _class(wanted: str, classes: list[str]) -> int | None:
    from minicnn.cli.visualize import which

    if wanted and not classes:                             # random weights: its classes have numbers only
        if not wanted.isdecimal():
            raise console.UsageError(f"the class {wanted!r} must be a number: the classes of this net have no names")
        return int(wanted)
    return which(wanted, classes) if wanted else None


def _prepared(model: str, image: str, seed: int, *given: Any) -> tuple[Any, Any, Any]:
    """(the net, its description, the picture as the net takes it: (C,H,W) float32); without weights it is bytes/255"""
    from minicnn import rng
    from minicnn.cli.net_to_see import net_to_see
    from minicnn.explain.samples import digit

    rng.seed(seed)
    net, about, _ = net_to_see(model, *given, random="none")
    source = digit(image)[0] if image.partition(":")[0] == "digits" else Path(image)
    preprocessing = about.preprocessing
    return net.eval(), about, preprocessing.normalise(preprocessing.read(source))
