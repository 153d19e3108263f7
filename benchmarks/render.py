"""Fills docs/benchmarks.md and docs/benchmarks-gpu.md, and draws their pictures, from benchmarks/results/*.json.

    python -m benchmarks.render             both pages; or one of them: cpu, gpu
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.cpu import page as cpu
from benchmarks.gpu import page as gpu
from benchmarks.harness import RESULTS, ROOT
from benchmarks.markdown import fill

PAGES = {"cpu": (cpu.blocks, "benchmarks.md"), "gpu": (gpu.blocks, "benchmarks-gpu.md")}


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", default=list(PAGES), help="cpu, gpu; by default both")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the JSON files")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder for the filled pages")
    parser.add_argument("--pictures", type=Path, help="the folder for their pictures; by default DOCS/pictures")
    args = parser.parse_args(argv)
    for name in args.pages:
        if name not in PAGES:
            parser.error(f"unknown page {name!r}: there are {', '.join(PAGES)}")
    folder = args.pictures or args.docs / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    args.docs.mkdir(parents=True, exist_ok=True)

    def picture(name: str, draw, *data) -> str:
        """Draw a picture. → its link"""
        draw(*data, folder / name)
        return os.path.relpath(folder / name, args.docs).replace(os.sep, "/")

    for name in args.pages:
        blocks, file = PAGES[name]
        text = (ROOT / "docs" / file).read_text(encoding="utf-8")
        for block, parts in blocks(args.results, picture).items():
            text = fill(text, block, "\n" + "\n".join(parts))
        (args.docs / file).write_text(text, encoding="utf-8")
        print(f"written: {args.docs / file}")


if __name__ == "__main__":
    main()
