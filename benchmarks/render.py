"""Fills the pages of docs/ that show measurements, and draws their pictures, from benchmarks/results/*.json.

    python -m benchmarks.render             all pages; or one of them: cpu, gpu, compiled
"""

import argparse
import json
from pathlib import Path

from benchmarks.cpu import compiled_page
from benchmarks.cpu import page as cpu
from benchmarks.gpu import page as gpu
from benchmarks.harness import RESULTS, ROOT
from benchmarks.markdown import circumstances, fill

PAGES = {"cpu": ("benchmarks.md", cpu.BLOCKS, "Not measured yet: `make bench`."),
         "gpu": ("benchmarks-gpu.md", [gpu.gpu], "**Not measured yet**: no GPU was available."),
         "compiled": ("compiled.md", compiled_page.BLOCKS, "Not measured yet: `make bench`.")}  # fmt: skip
"""name: (file; functions that fill its blocks, each named like its block and its JSON file; text without that file)"""
ONE_FILE = {"compiled": "compiled.json"}
"""Pages whose blocks all show the same JSON file."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", choices=list(PAGES), help="by default all")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the JSON files")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder for the pages and their pictures")
    args = parser.parse_args(argv)
    (args.docs / "pictures").mkdir(parents=True, exist_ok=True)

    def picture(name: str, draw, *data) -> str:
        """Draw a picture. → its link"""
        draw(*data, args.docs / "pictures" / name)
        return f"pictures/{name}"

    for name in [args.page] if args.page else PAGES:
        file, blocks, missing = PAGES[name]
        text = (ROOT / "docs" / file).read_text(encoding="utf-8")
        for block in blocks:
            path, parts = args.results / ONE_FILE.get(name, f"{block.__name__}.json"), [f"{missing}\n"]
            if path.exists():
                document = json.loads(path.read_text(encoding="utf-8"))
                parts = [*block(document, picture), *([] if name in ONE_FILE else [circumstances(document)])]
            text = fill(text, block.__name__, "\n" + "\n".join(parts))
        (args.docs / file).write_text(text, encoding="utf-8")
        print(f"written: {args.docs / file}")


if __name__ == "__main__":
    main()
