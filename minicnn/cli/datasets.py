"""minicnn datasets"""

from __future__ import annotations

from typing import Any

from minicnn.cli import console


def datasets(as_json: console.Json = False):
    """List the datasets: description, folder, whether they are downloaded, and how to get them."""
    from minicnn.data import registry

    rows: list[dict[str, Any]] = []
    for entry in registry.DATASETS.values():
        missing = entry.missing
        rows.append({
            "dataset": entry.name, "here": not missing, "folder": str(entry.folder), "missing": missing,
            "about": entry.summary, "licence": entry.licence, "home": entry.homepage, "download_bytes": entry.size,
            "get": f"minicnn data get {entry.name}" if missing else "",
            "files": [{"name": file.name, "urls": list(file.urls), "bytes": file.size, "sha256": file.sha256}
                      for file in entry.files],
        })  # fmt: skip
    if as_json:
        return console.print_json(rows)
    table = console.table("dataset", "here", "description", ">download", "folder")
    for row in rows:
        size = f"{row['download_bytes'] / 1e6:.0f} MB" if row["download_bytes"] else "none"
        table.add_row(row["dataset"], "yes" if row["here"] else "no", row["about"], size, row["folder"])
    console.show(table, ("folder", "download"))
    for row in rows:
        if row["missing"]:
            console.say(f"{row['dataset']}: `{row['get']}` downloads it from {row['home']}", markup=False)
    console.say("Your own: a folder of pictures, a folder for each class; `minicnn data doctor FOLDER` checks it. "
                "Or tar shards, which `minicnn data pack` makes.", markup=False)
