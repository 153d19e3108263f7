"""The tutorial's commands are run, in order, and print what the page says: every word, and every number nearly.

It needs the pictures and the weights that the page names: folders/stamps and weights/squeezenet1_1-imagenet.npz in
$MINICNN_HOME. `python tests/test_docs_transfer.py` writes what the commands print into the page.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "transfer.md"
HOME = Path(os.environ.get("MINICNN_HOME") or "~/.cache/minicnn").expanduser()
STAMPS, WEIGHTS = HOME / "folders" / "stamps", HOME / "weights" / "squeezenet1_1-imagenet.npz"
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
CROP = re.compile(r"finds ([\d.]+) % right with `--fit crop`")
BLOCK = re.compile(r"```console\n\$ (.*)\n((?:.*\n)*?)```\n")
ROW = re.compile(r"^\| (\d+) \| ([\d.]+) % \| ([\d.]+) % \|$", re.M)

needs_data = pytest.mark.skipif(not (STAMPS.is_dir() and WEIGHTS.is_file()),
                                reason=f"{STAMPS} or {WEIGHTS} is not there: they are not ours to ship")


def run(folder: Path, command: str) -> str:
    """The output of a command of the page, in a folder with its files."""
    for name, target in (("stamps", STAMPS), ("squeezenet1_1.npz", WEIGHTS)):
        if not (folder / name).exists():
            (folder / name).symlink_to(target)
    program, *args = shlex.split(command)
    assert program == "minicnn"
    call = [sys.executable, "-c", "from minicnn.cli.app import main; main()", *args]
    env = {**os.environ, "COLUMNS": "100", "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(call, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def same(said: str, found: str) -> bool:
    """Whether two texts have the same words and bars' ends, and numbers that differ by what another CPU may do."""
    def words(text):
        return re.sub(r"[█▏▎▍▌▋▊▉\s]+", " ", NUMBER.sub("#", text))

    pairs = zip(map(float, NUMBER.findall(said)), map(float, NUMBER.findall(found)))
    return words(said) == words(found) and all(abs(a - b) <= 0.02 + 0.1 * abs(a) for a, b in pairs)


def shortened(text: str) -> str:
    """A page shows what a command found out, not what to try next."""
    return text.split("\nWhat to try next:")[0].rstrip() + "\n"


def timeless(text: str) -> str:
    """Without the seconds that something took."""
    return re.sub(r"[\d.]+ s\b", "… s", text)


@pytest.mark.slow
@needs_data
def test_the_commands_print_what_the_page_says(tmp_path):
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) >= 3
    for command, said in blocks:
        found = shortened(run(tmp_path, command))
        assert same(timeless(said), timeless(found)), f"$ {command}\n{found}"


def accuracies(folder: Path, seeds, more: str = "") -> dict[int, tuple[float, float]]:
    """{seed: (cross-validation's, the test's) accuracy in per cent} of the page's first command."""
    command = BLOCK.findall(PAGE.read_text())[0][0].replace("runs/stamps", "runs/seed")
    found = {}
    for seed in seeds:
        report = json.loads(run(folder, f"{command} {more} --seed {seed} --overwrite --json"))
        found[seed] = 100 * report["head"]["accuracy"], 100 * report["test"]["accuracy"]
    return found


@needs_data
@pytest.mark.slow
def test_ten_seeds(tmp_path):
    rows = {int(seed): (float(a), float(b)) for seed, a, b in ROW.findall(PAGE.read_text())}
    assert sorted(rows) == list(range(10))
    found = accuracies(tmp_path, rows)
    for seed in rows:
        assert found[seed] == pytest.approx(rows[seed], abs=3), f"seed {seed}"     # one picture of 39 is 2.6 %
    mean = sum(b for _, b in rows.values()) / 10
    assert f"{mean:.1f} % right on average" in PAGE.read_text()
    assert sum(b for _, b in found.values()) / 10 >= 88
    (crop,) = map(float, CROP.findall(PAGE.read_text()))
    assert accuracies(tmp_path, [0], "--fit crop")[0][0] == pytest.approx(crop, abs=3)


def write(folder: Path) -> None:
    """Bring the page up to date."""
    text = PAGE.read_text()
    for command, said in BLOCK.findall(text):
        found = shortened(run(folder, command))
        text = text.replace(f"```console\n$ {command}\n{said}```\n", f"```console\n$ {command}\n{found}```\n")
    found = accuracies(folder, range(10))
    lines = [f"| {seed} | {a:.1f} % | {b:.1f} % |" for seed, (a, b) in found.items()]
    table = "\n".join(["| seed | cross-validation, 91 pictures | test, 39 pictures |", "|---:|---:|---:|", *lines])
    mean = sum(b for _, b in found.values()) / 10
    text = re.sub(r"(?s)\| seed \|.*?\n\n.*? % right on average", f"{table}\n\n{mean:.1f} % right on average", text)
    crop = accuracies(folder, [0], "--fit crop")[0][0]
    PAGE.write_text(CROP.sub(f"finds {crop:.1f} % right with `--fit crop`", text))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        write(Path(place))
