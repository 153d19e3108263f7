"""minicnn app MODEL"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minicnn import foreign
from minicnn.app.export import export
from minicnn.app.session import Session, site
from minicnn.app.standalone import PORT
from minicnn.app.teach import Teacher
from minicnn.cli import console
from minicnn.cli.model_name import model_path
from minicnn.io import model_file
from minicnn.names import quoted
from minicnn.web.server import serve


def app(
    model: Annotated[Path, typer.Argument(help="A run folder, or a model file (.safetensors).")],
    data: Annotated[
        Path | None, typer.Option(help="A folder with a folder of pictures for each class, to file corrected pictures "
                                       "into and to train on; by default that of the model's run, otherwise a new "
                                       "folder, corrections, beside the model.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of a retraining.", min=1)] = 5,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only answer: nothing is filed, nothing retrained.")
    ] = False,
    export_: Annotated[
        Path | None, typer.Option("--export", help="Write a folder that serves the page elsewhere with Python, NumPy "
                                                   "and Pillow, and end.")
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = PORT,
    host: Annotated[
        str, typer.Option(help="The address to listen on; beyond 127.0.0.1 only with --token.")
    ] = "127.0.0.1",
    token: Annotated[str, typer.Option(help="The secret in the page's address; by default a random one.")] = "",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
):
    """Serve a trained classifier as a page: drop a picture, see its top five, correct it, and let the model learn.

    The answers are those of `minicnn predict`. A corrected picture is filed into the folder of its class; a retraining
    runs in the background, is compared with the model in use, and the better one is kept.
    """
    path = model_path(model)
    if export_ is not None:
        names = export(path, export_)
        console.say(f"{export_}: {', '.join(names)}", markup=False)
        console.say(f"Start it with: python {quoted(str(export_ / 'app.py'))}", markup=False)
        return
    if data is not None and read_only:
        raise console.UsageError("--data names where pictures are filed, and --read-only files none: leave one out")
    net, about = model_file.load(path)
    session = Session(net, about, foreign.terminal(f"{about.model} · {model}"))
    teacher = None if read_only else Teacher(session, path, data, epochs)
    if teacher is not None:
        root, here = teacher.corrections.root, Path.cwd()
        where = root.relative_to(here) if root.is_relative_to(here) else root
        console.say(f"Corrected pictures are filed in {foreign.terminal(where)}.", markup=False)
        if teacher.missing:
            console.note(f"The model can't be retrained: {teacher.missing}")
    served = site(session, teacher.questions(), teacher.state) if teacher else site(session)
    try:
        with console.usage_errors():
            serve(served, port, host, token, browser=not no_browser, warm_up=session.warm_up,
                  say=lambda line: console.say(line, markup=False))
    finally:
        if teacher is not None:
            teacher.close()
