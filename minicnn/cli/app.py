"""The program `minicnn`: its verbs by task; every failure is one sentence and an exit code: 0 ok, 1 failed, 2 usage."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import typer

import minicnn
from minicnn import launcher
from minicnn.cli import console, language
from minicnn.foreign import NoFontWarning

TRAIN, LOOK, CHECK, MEASURE, DATA = "Train and use", "Look inside", "Check", "Measure", "Data"


class Verb(NamedTuple):
    """A verb: the place of its code ("file:function", or "file:app" for a group), its help text and its examples."""

    code: str
    panel: str
    help: str
    examples: tuple[str, ...]


VERBS = {
    "train": Verb("train:train", TRAIN, "Train a net, test it, and keep everything in a run folder.", (
        "train digits", "train photos --model resnet20 --epochs 30", "train --resume runs/digits-lenet5-1")),
    "transfer": Verb("transfer:transfer", TRAIN, "Adapt a trained net to the classes of your own pictures.", (
        "transfer photos --weights squeezenet.safetensors", "transfer photos --weights r18.pth --model resnet18")),
    "eval": Verb("evaluate:evaluate", TRAIN, "Measure a trained model: accuracy, confusions, mistakes.", (
        "eval runs/demo", "eval runs/demo --split train", "eval net.safetensors --data photos")),
    "predict": Verb("predict:predict", TRAIN, "Classify pictures: the most probable classes as bars.", (
        "predict runs/demo picture.png", "predict runs/demo photos/", "cat picture.png | minicnn predict runs/demo -")),
    "import": Verb("import_:import_", TRAIN, "Make a model file from PyTorch's weights, without PyTorch.", (
        "import squeezenet1_1 weights.pth --out net.safetensors",
        "import resnet18 w.safetensors --set num_classes=10 --out net.safetensors")),
    "export": Verb("export:export", TRAIN, "Write a trained model as ONNX or safetensors.", (
        "export runs/demo --onnx net.onnx", "export runs/demo --safetensors net.safetensors")),
    "models": Verb("models:models", LOOK, "List every net; with --sizes its parameters and multiply-adds.", (
        "models", "models --sizes")),
    "summary": Verb("summary:summary", LOOK, "Show a net layer by layer: shapes, parameters, MACs.", (
        "summary resnet50 --depth 1", "summary lenet5:1998", "summary runs/demo",
        "summary mine.py::Net --input 3x32x32 --set width=64")),
    "compare": Verb("compare:compare", LOOK, "Compare nets: size, work, memory, accuracy in the literature.", (
        "compare vgg16 resnet50", "compare --out chart.png", "compare --side-by-side vgg19 plain34 resnet34",
        "compare --stages vgg16 resnet34", "compare --ilsvrc")),
    "diff": Verb("diff:diff", LOOK, "Compare two nets layer by layer.", (
        "diff alexnet:paper alexnet", "diff resnet20 mine.py::Net --input 3x32x32")),
    "cite": Verb("cite:cite", LOOK, "Show a net's paper: its figures, our counts, why sources differ.", (
        "cite googlenet", "cite alexnet:paper")),
    "visualize": Verb("visualize:visualize", LOOK, "Draw what a net sees: filters, maps, Grad-CAM, saliency.", (
        "visualize runs/demo runs/demo/sample.png --what maps --out maps.png",
        "visualize net.safetensors cat.jpg --class tabby --out cat.png")),
    "app": Verb("app_:app", TRAIN, "Serve a classifier as a page, correct its answers, let it learn.", (
        "app runs/demo", "app runs/stamps --data photos", "app runs/demo --export classifier",
        "app runs/demo --host 0.0.0.0 --token a-long-secret-word")),
    "lab": Verb("lab:lab", LOOK, "Open a page that explains any number of any layer.", (
        "lab runs/demo", "lab net.safetensors --no-browser", "lab runs/demo --follow",
        "lab mine.py::Net --input 3x32x32")),
    "image": Verb("image:image", LOOK, "Show a picture as a matrix: rows, channels, bits.", (
        "image digits:0", "image cat.png --crop 40,60,8,6", "image cat.png --bits 3", "image cat.png --channel red")),
    "explain": Verb("explain:app", LOOK, "Show a formula with the numbers in it.", (
        "explain conv mouse --filter curve", "explain conv cat.png --filter vertical --cell 3,4",
        "explain unit runs/demo digits:0 --layer features.3 --unit 15,6,8", "explain pool --kind max",
        "explain unit mine.py::Net cat.png --input 3x32x32 --weights net.npz",
        "explain step --lr 0.1")),
    "gradcheck": Verb("gradcheck:check", CHECK, "Check gradients, also of your functions, by finite differences.", (
        "gradcheck all", "gradcheck conv2d --seeds 20", "gradcheck mine.py::f --shapes 2x3x5x4,6x3x3x2")),
    "claim": Verb("claim:app", CHECK, "Measure a textbook's claim: it holds, or not, or can't be told.", (
        "claim list", "claim dropout", "claim relu-tanh --series 2", "claim all", "claim mine.py --seeds 5",
        "claim report --write claims.md")),
    "shape": Verb("shape:shape", CHECK, "Compute how many windows fit on an image, by floor and by ceil.", (
        "shape 227 -k 11 -s 4", "shape 32 -k 3 -p 1")),
    "course": Verb("course:app", CHECK, "Twelve exercises with starter files, checks and hints.", (
        "course list", "course start 2 exercises", "course check exercises/ex02_conv_forward.py",
        "course check class --csv scores.csv")),
    "bench": Verb("bench:app", MEASURE, "Measure convolutions or a whole net on this machine.", (
        "bench conv", "bench conv --input 16,64,56,56 -k 3 -p 1", "bench model resnet20")),
    "devices": Verb("devices:devices", MEASURE, "List the devices, and why a GPU is not usable.", ("devices",)),
    "datasets": Verb("datasets:datasets", DATA, "List the datasets, where they are, how to get them.", ("datasets",)),
    "data": Verb("data:app", DATA, "Download datasets; check and pack your own pictures.", (
        "data get cifar-10", "data doctor photos", "data pack photos shards")),
}  # fmt: skip


class Verbs(typer.core.TyperGroup):
    """The group of all verbs: `minicnn --help` loads no verb's code, and a call loads only that of its verb."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that `args` name, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else command, rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The first screen, in the current language."""
        language.translate_help(self)
        super().format_help(ctx, formatter)


def load(name: str) -> Any:
    """The click command of a verb, from its file."""
    verb = VERBS[name]
    file, _, attribute = verb.code.partition(":")
    code = getattr(importlib.import_module(f"minicnn.cli.{file}"), attribute)
    if not isinstance(code, typer.Typer):
        alone = typer.Typer(add_completion=False, context_settings=HELP)
        alone.command(name, epilog=_epilog(verb))(code)
        code = alone
    else:
        code.info.epilog = _epilog(verb)
    command = typer.main.get_command(code)
    command.name = name
    language.translate_help(command)
    return command


def _epilog(verb: Verb) -> str:
    """The examples as paragraphs, because typer joins the lines of a paragraph."""
    lines = (line if " minicnn " in line else f"minicnn {line}" for line in verb.examples)
    return "\n\n".join(("Examples:", *lines))


HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(cls=Verbs, add_completion=False, pretty_exceptions_enable=False, context_settings=HELP,
                  invoke_without_command=True)  # fmt: skip
for _name, _verb in VERBS.items():
    # for `minicnn --help`; a call uses `load`
    app.command(_name, help=_verb.help, rich_help_panel=_verb.panel)(lambda: None)


def _version(wanted: bool):
    if wanted:
        print(minicnn.__version__)
        raise typer.Exit()


def _language(name: str | None):
    with console.usage_errors():
        language.choose(name)


@app.callback(epilog="Every verb has --help with examples; those that report have --json for programs.")
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    lang: Annotated[
        str | None, typer.Option("--lang", help="The language of help and messages: en or ko; by default that of the "
                                                "locale.", callback=_language, is_eager=True, metavar="en|ko")
    ] = None,
):
    """Convolutional networks from scratch: train, look inside, check every gradient.

    First steps: minicnn train digits, then minicnn predict RUN picture.png.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """The program `minicnn`. MINICNN_DEBUG=1 shows the traceback of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe in an old encoding has no ×: print a substitute
    if launcher.launched() > 1 and launcher.launched_rank():
        console.silence()
    try:
        with _warnings_as_lines():
            code = app(standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # typer turns Ctrl-C into this, silently
            console.fail("stopped", 130)
    except console.UsageError as problem:
        message = problem.format_message()  # empty if a group without a verb printed its help
        if message.startswith("No such option: --variant"):
            message = ("No such option: --variant: a variant is part of the net's name, such as lenet5:1998, or "
                       "--set variant=1998")  # fmt: skip
        code = console.fail(message, 2) if message else 2
    except (KeyboardInterrupt, typer.Abort):
        code = console.fail("stopped", 130)
    except BrokenPipeError:  # the program that read our output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as problem:
        code = _code_of(problem)
    sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """A warning of ours is one line on stderr, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", NoFontWarning)
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any) -> None:
            if issubclass(category, NoFontWarning):
                console.note(str(message))
            else:
                usual(message, category, *place)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


FAILURES = (
    ValueError, TypeError, ArithmeticError, RuntimeError, AssertionError, OSError, ImportError, MemoryError
)  # fmt: skip
"""Errors that become one sentence; any other is a bug in minicnn and gets a traceback."""


def _code_of(problem: Exception) -> int:
    """Print the error. → the exit code"""
    train = sys.modules.get("minicnn.train")  # loaded only by verbs that train
    if train is not None and isinstance(problem, train.Stopped):  # everything is saved
        console.note(str(problem))
        return problem.code
    if os.environ.get("MINICNN_DEBUG") or not isinstance(problem, FAILURES):
        raise problem
    return console.fail(str(problem), 1)
