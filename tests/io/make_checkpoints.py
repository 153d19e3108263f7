"""Write tests/io/checkpoints/*.pt with PyTorch: `python -m tests.io.make_checkpoints`.

The files are kept, so that both of PyTorch's formats are tested where it is not installed; `CASES` says what must be
read from them. All values are small multiples of 1/8, which even bfloat16 holds exactly.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "checkpoints"
WAYS = {
    "zip": {},
    "legacy": {"_use_new_zipfile_serialization": False},
    "zip4": {"pickle_protocol": 4},
    "legacy4": {"pickle_protocol": 4, "_use_new_zipfile_serialization": False},
}


def count(dtype, *shape):
    """0, 1/8, 2/8, … for floats; 0, 1, 2, … for integers."""
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    return (values / 8 if np.dtype(dtype).kind == "f" else values).astype(dtype)


_grid = count("f4", 4, 6)
CASES = {
    "types": {
        **{np.dtype(t).name: count(t, 2, 3) for t in ("f4", "f8", "i8", "i4", "i2", "i1", "u1")},
        "bool": np.array([True, False, True]), "float16": count("f4", 5), "bfloat16": count("f4", 7),
        "scalar": np.array(7, "i8"), "empty": np.zeros((0, 3), "f4"),
    },
    "views": {
        "whole": _grid, "transposed": _grid.T, "sliced": _grid[1:4:2, 2:5], "again": _grid, "element": _grid[2, 3],
        "column": _grid[:, 1:2], "own": count("f4", 2, 2).T, "parameter": count("f4", 3),
    },
    "model": {
        "0.weight": count("f4", 4, 3, 3, 3), "0.bias": count("f4", 4), "1.weight": count("f4", 4),
        "1.bias": count("f4", 4),
        "1.running_mean": count("f4", 4), "1.running_var": count("f4", 4), "1.num_batches_tracked": np.array(3, "i8"),
    },
    "training": {"0.weight": count("f4", 2, 3), "0.bias": count("f4", 2)},
}  # fmt: skip


def _values(torch):
    """The same, as what torch.save is given."""
    def tensors(state):
        return {name: torch.tensor(array) for name, array in state.items()}

    types = tensors(CASES["types"])
    types |= {name: types[name].to(getattr(torch, name)) for name in ("float16", "bfloat16")}
    grid, own = torch.tensor(_grid), torch.tensor(count("f4", 2, 2))
    views = {
        "whole": grid, "transposed": grid.T, "sliced": grid[1:4:2, 2:5], "again": grid, "element": grid[2, 3],
        "column": grid[:, 1:2], "own": own.T, "parameter": torch.nn.Parameter(torch.tensor(count("f4", 3))),
    }  # fmt: skip
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    model.load_state_dict(tensors(CASES["model"]))
    inner = torch.nn.DataParallel(torch.nn.Sequential(torch.nn.Linear(3, 2)))
    inner.module.load_state_dict(tensors(CASES["training"]))
    optimizer = torch.optim.Adam(inner.parameters(), lr=1e-3)
    inner.module[0].weight.sum().backward()
    optimizer.step()
    inner.module.load_state_dict(tensors(CASES["training"]))
    training = {"epoch": 3, "best": 0.5, "arch": "linear", "sizes": torch.Size([2, 3]),
                "optimizer": optimizer.state_dict(), "state_dict": inner.state_dict(), "done": None}  # fmt: skip
    return {"types": OrderedDict(types), "views": views, "model": model.state_dict(), "training": training}


def write(folder):
    """Every case in every way; protocol 4 of one case alone, for it differs in the pickle alone."""
    import torch

    torch.manual_seed(0)
    for name, value in _values(torch).items():
        for way, options in WAYS.items():
            if not way.endswith("4") or name == "training":
                torch.save(value, folder / f"{name}-{way}.pt", **options)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write(FOLDER)
