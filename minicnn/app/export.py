"""`minicnn app MODEL --export FOLDER`: a folder that serves the page with Python, NumPy and Pillow alone."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

import minicnn
from minicnn import atomic

MODEL = "best.safetensors"
"""As in a run folder: so `minicnn predict FOLDER` takes it, too."""
NEEDED = ("numpy", "pillow", "threadpoolctl")
"""Pillow decodes pictures as `minicnn predict` does; the engine sets the threads of NumPy's BLAS with threadpoolctl."""
PARTS = ("app", "cpu", "data", "files", "inspect", "io", "models", "nn", "ops", "plan", "web")
"""The folders of the package that the page uses, besides the files beside them."""
LEFT_OUT = ("*.gz", "__pycache__", "ops_table.py", "cases.py", "crossing_cases.py", "reference.py",
            "teach.py", "retrain.py", "filing.py", "export.py")  # fmt: skip
"""Of these: the embedded digits, what checks the ops, and what files and trains."""
START = '''"""Serves the classifier in this folder:    pip install -r requirements.txt    python app.py --help"""

from pathlib import Path

from minicnn.app.standalone import main

if __name__ == "__main__":
    main(Path(__file__).parent)
'''
READ_ME = """# A classifier

    pip install -r requirements.txt
    python app.py

The page opens in the browser, on this machine only; `python app.py --help` lists the options. It answers with the five
most probable classes of a picture and shows with Grad-CAM which places count for them. The answers are those of
`minicnn predict best.safetensors`.

The folder holds the model ({model}, {classes} classes, minicnn {version}), and the part of minicnn that computes its
answers, under the licence in minicnn/LICENSE. It needs Python 3.11 or newer.
"""


def export(model: Path, folder: Path) -> list[str]:
    """Write the folder, which must not exist or be empty. → the names in it

    FileExistsError where it holds something.
    """
    from minicnn.io import model_file

    about = model_file.description(model)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds something already, which is kept: give a folder that is empty or new")
    package = Path(minicnn.__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(package, folder / "minicnn", ignore=_ignored)
    shutil.copyfile(_licence(package), folder / "minicnn" / "LICENSE")
    atomic.write(folder / MODEL, model.read_bytes())
    text = {"app.py": START, "requirements.txt": "".join(f"{line}\n" for line in requirements()),
            "README.md": READ_ME.format(model=about.model, classes=len(about.classes), version=minicnn.__version__)}
    for name, content in text.items():
        atomic.write(folder / name, content.encode())
    return sorted(path.name for path in folder.iterdir())


def requirements() -> list[str]:
    """The packages that the folder needs, as minicnn itself asks for them: numpy>=2.0"""
    wanted = metadata.requires("minicnn-numpy") or []
    return [line for line in wanted if line.split(">")[0].strip() in NEEDED and ";" not in line]


def _ignored(folder: str, names: list[str]) -> set[str]:
    left = set(shutil.ignore_patterns(*LEFT_OUT)(folder, names))
    if Path(folder) == Path(minicnn.__file__).parent:
        left |= {name for name in names if name not in PARTS and (Path(folder) / name).is_dir()}
    return left


def _licence(package: Path) -> Path:
    """The licence's text: of the installed package, or beside the sources."""
    files = metadata.files("minicnn-numpy") or []
    found = [Path(str(f.locate())) for f in files if f.name == "LICENSE"]
    return next(path for path in [*found, package.parent / "LICENSE"] if path.is_file())
