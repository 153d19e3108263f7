"""What tables on the terminal say."""

import re


def table(out, first):
    """[{column: cell}, …] of a printed table whose first column is called so: all further ones aligned to the right,
    but those of `words`."""
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{first} "))
    header = [(m[0], m.end()) for m in re.finditer(r"\S+(?: \S+)*", lines[at])]
    words = [name for name, _ in header[:2] if name in (first, "kind")]
    rows = []
    for line in lines[at + 1 :]:
        if not line.strip() or line.startswith("(Not shown"):
            break
        left = dict(zip(words, line.split()))
        cells = {name: line[:end].split()[-1] if line[end - 1 : end].strip() else "" for name, end in header}
        rows.append({**cells, **left})
    return rows


def number(text):
    return 0 if text == "·" else int(text.replace(",", ""))
