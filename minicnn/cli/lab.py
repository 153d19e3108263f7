"""minicnn lab RUN"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from minicnn import data
from minicnn.cli import console
from minicnn.cli.import_ import AUTO, PREPROCESSING
from minicnn.cli.model_name import BEST, InputSize, ModelSettings
from minicnn.cli.net_to_see import net_to_see
from minicnn.io import model_file
from minicnn.lab.session import Session, site
from minicnn.nn import Module
from minicnn.train.folder import CONFIG
from minicnn.train.source import split_of_run, whole_dataset
from minicnn.web.server import serve

DEMO = Path("runs/demo")


def lab(
    run: Annotated[
        str, typer.Argument(help="A run folder, a model file, NAME or NAME:VARIANT, or FILE.py::NET of your own; by "
                                 "default runs/demo.")
    ] = "",
    weights: Annotated[
        Path | None, typer.Option(help="Weights for NAME or FILE.py::NET; without them they are random.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="With --weights: class names.")] = None,
    settings: ModelSettings = None,
    input_size: InputSize = "",
    preprocess: Annotated[
        str, typer.Option(help=f"For NAME and FILE.py::NET: {', '.join(PREPROCESSING)}, auto.")
    ] = AUTO,
    follow: Annotated[
        bool, typer.Option("--follow", help="Draw the curves of a run while it trains, and take its new weights.")
    ] = False,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8765,
    host: Annotated[
        str, typer.Option(help="The address to listen on; beyond 127.0.0.1 only with --token.")
    ] = "127.0.0.1",
    token: Annotated[str, typer.Option(help="The secret in the page's address; by default a random one.")] = "",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
):  # fmt: skip
    """Open a page to look inside a net: draw or drop a picture, and have any number of any layer explained."""
    run = run or (str(DEMO) if DEMO.is_dir() else "")
    if not run:
        raise console.UsageError("name a run folder or a model file: there is no runs/demo, which `make demo` trains")
    folder = Path(run) if Path(run).is_dir() else None
    if follow and folder is None:
        raise console.UsageError(f"--follow needs a run folder, and {run} is none")
    if follow and folder is not None and (folder / CONFIG).is_file() and not (folder / BEST).exists():
        console.say(f"{folder} has no model yet: the lab opens after its first epoch. Ctrl-C stops.", markup=False)
        while not (folder / BEST).exists():                # written atomically: there at once, and whole
            time.sleep(0.3)
    session = _session(run, _newest(folder) if follow else None, weights, labels, settings, input_size, preprocess)
    with console.usage_errors():
        serve(site(session, folder if follow else None), port, host, token, browser=not no_browser,
              say=lambda line: console.say(line, markup=False), warm_up=session.warm_up)


def _session(run: str, reload: Any, *given: Any) -> Session:
    net, about, source = net_to_see(run, *given)
    if source == "random":
        console.say(f"{run} has random weights: --weights gives it trained ones.", markup=False)
    name = f"{about.model} · {run}" if source == "file" else run
    samples = _samples(Path(run) if source == "file" else None, about)
    return Session(net, about.classes, about.preprocessing, name, samples, reload)


def _samples(run: Path | None, about: model_file.Description) -> Any:
    """Test pictures of the model's dataset, if they are here and of one size with its images; else None."""
    try:
        if run is not None and (run / CONFIG).is_file():
            return split_of_run(run / CONFIG, "test").test
        if about.trained_on in data.names():
            return whole_dataset(about.trained_on, "test", about)[1]
    except (ValueError, OSError):                                  # not downloaded, or moved: the lab works without
        pass
    return None


def _newest(folder: Path | None) -> Callable[[], dict[str, np.ndarray] | None] | None:
    """The weights of a run's best model whenever the file is another than at the last call."""
    if folder is None:
        return None
    path = folder / BEST
    seen = path.stat().st_mtime_ns if path.exists() else 0

    def newest() -> dict[str, np.ndarray] | None:
        nonlocal seen
        try:
            now = path.stat().st_mtime_ns
            if now == seen:
                return None
            model: Module = model_file.load(path)[0]
        except (OSError, ValueError):                              # it is just being replaced
            return None
        seen = now
        return model.state_dict()

    return newest
