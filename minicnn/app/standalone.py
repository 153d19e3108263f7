"""The app without the program `minicnn`: what app.py in an exported folder runs. It needs NumPy and Pillow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minicnn import foreign
from minicnn.app.session import Session, site
from minicnn.io import model_file
from minicnn.web.server import serve

PORT = 8766


def main(folder: Path) -> None:
    """Serve the model in a folder, with the options of the command line."""
    parser = argparse.ArgumentParser(description="Serve the classifier in this folder as a page.")
    parser.add_argument("--port", type=int, default=PORT, help=f"by default {PORT}; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; others only with --token")
    parser.add_argument("--token", default="", help="the secret in the page's address; by default a random one")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    given = parser.parse_args()
    try:
        model, about = model_file.load(folder / "best.safetensors")
        session = Session(model, about, foreign.terminal(f"{about.model} · {folder.resolve().name}"))
        serve(site(session), given.port, given.host, given.token, browser=not given.no_browser,
              say=lambda line: print(line, flush=True), warm_up=session.warm_up)
    except (ValueError, OSError) as problem:
        sys.exit(f"error: {foreign.terminal(problem)}")
    except KeyboardInterrupt:
        sys.exit(130)
