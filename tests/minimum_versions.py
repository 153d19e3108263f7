"""Print every dependency of pyproject.toml pinned to its declared minimum, one a line: constraints for pip."""

import re
import tomllib
from pathlib import Path


def pins(pyproject: Path) -> list[str]:
    """["numpy==2.0", …] for ["numpy>=2.0", …], of the dependencies and of the extras that the tests need."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["plot"], *extras["onnx"], *extras["fast"], *extras["mpi"],
                *extras["test"]]
    found = (re.fullmatch(r"([A-Za-z0-9_-]+)>=([0-9.]+)", requirement) for requirement in declared)
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    print("\n".join(pins(Path(__file__).parent.parent / "pyproject.toml")))
