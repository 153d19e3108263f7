"""Puts the verbs together, and turns every failure into one sentence and an exit code: 0 ok, 1 failed, 2 usage."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

import minicnn
from minicnn.cli import bench, console, data
from minicnn.cli.cite import cite
from minicnn.cli.compare import compare
from minicnn.cli.datasets import datasets
from minicnn.cli.devices import devices
from minicnn.cli.diff import diff
from minicnn.cli.evaluate import evaluate
from minicnn.cli.export import export
from minicnn.cli.gradcheck import check
from minicnn.cli.import_ import import_
from minicnn.cli.models import models
from minicnn.cli.predict import predict
from minicnn.cli.shape import shape
from minicnn.cli.summary import summary
from minicnn.cli.train import train
from minicnn.cli.transfer import transfer
from minicnn.cli.visualize import visualize
from minicnn.train import Stopped

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Convolutional networks from scratch: train, look inside, check every gradient.",
)
for name, verb in (
    ("train", train),
    ("transfer", transfer),
    ("eval", evaluate),
    ("predict", predict),
    ("visualize", visualize),
    ("import", import_),
    ("export", export),
    ("datasets", datasets),
    ("models", models),
    ("summary", summary),
    ("compare", compare),
    ("diff", diff),
    ("cite", cite),
    ("shape", shape),
    ("gradcheck", check),
    ("devices", devices),
):
    app.command(name)(verb)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")


def _version(wanted: bool):
    if wanted:
        print(minicnn.__version__)
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
):
    """Convolutional networks from scratch: train, look inside, check every gradient."""


def main() -> None:
    """The program `minicnn`. MINICNN_DEBUG=1 shows where a failure came from."""
    # One BLAS thread: the products of small nets are too small to share, and two threads that wait for each other on a
    # busy machine made an epoch of LeNet-5 two to seven times slower (and no faster on an idle one).
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a pipe in an old encoding has no ×, and that is no reason to stop
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # what typer makes of Ctrl-C, without a word
            console.fail("stopped", 130)
    except console.UsageError as problem:
        code = console.fail(problem.format_message(), 2)
    except Stopped as stopped:  # everything is saved
        print(stopped, file=sys.stderr)
        code = stopped.code
    except KeyboardInterrupt:
        code = console.fail("stopped", 130)
    except typer.Abort:
        code = console.fail("stopped", 130)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (
        ValueError, TypeError, ArithmeticError, RuntimeError, AssertionError, OSError, ImportError, MemoryError
    ) as problem:  # fmt: skip
        if os.environ.get("MINICNN_DEBUG"):
            raise
        code = console.fail(str(problem), 1)
    sys.exit(code if isinstance(code, int) else 0)
