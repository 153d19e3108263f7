"""What holds for the package as a whole: how light it is to import, what it never does, and that it explains itself."""

import ast
import importlib
import importlib.metadata
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import minicnn
from minicnn import models, nn
from minicnn.ops_table import TABLE
from tests.work import NEVER

PACKAGE = Path(minicnn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def python(code, *options):
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=NEVER,
                          env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done


def test_all_files_are_looked_at():
    assert len(TREES) > 50
    assert {"minicnn", "minicnn.cpu.conv.im2col", "minicnn.data.digits", "minicnn.cli.app"} <= set(TREES)


# ------------------------------------------------------------------------------------------------------------- imports


@pytest.mark.parametrize("what", ["from minicnn import Tensor",
                                  "from minicnn import nn, optim, models, ops_table, reference"])  # fmt: skip
def test_importing_it_loads_numpy_and_threadpoolctl_alone(what):
    # Those that come from a file: NumPy's compiled parts leave a module or two in memory that don't.
    show = "import sys, json; print(json.dumps([n for n, m in sys.modules.items() if getattr(m, '__file__', None)]))"
    loaded = {name.split(".")[0] for name in json.loads(python(f"{what}; {show}").stdout)}
    bare = {name.split(".")[0] for name in json.loads(python(show).stdout)}      # what site-packages' .pth files load
    assert loaded - bare - sys.stdlib_module_names <= {"minicnn", "numpy", "threadpoolctl"}
    assert {"minicnn", "numpy"} <= loaded


def test_importing_it_is_quick():
    """It costs what is loaded: the engine with its ops, and of Python's library less than NumPy itself needs."""
    show = "import sys, json; print(json.dumps(list(sys.modules)))"
    numpys, ours = (set(json.loads(python(f"{what}; {show}").stdout))
                    for what in ("import numpy", "from minicnn import Tensor"))  # fmt: skip
    own = {name for name in ours - numpys if name.split(".")[0] == "minicnn"}
    parts = {name.split(".")[1] for name in own if "." in name}
    assert not parts & {"nn", "models", "optim", "data", "train", "inspect", "io", "bench", "cli", "reference"}
    assert len(ours - numpys - own) < 100, "modules of others"


def imported(name, tree):
    """The modules of the package that `tree` imports anywhere, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in TREES else node.module


def graph():
    return {name: {other for other in imported(name, tree) if other in TREES} for name, tree in TREES.items()}


def circles(edges):
    """The strongly connected components of more than one module, or of one that imports itself (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in edges[v]:
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            component = stack[stack.index(v):]
            del stack[stack.index(v):]
            if len(component) > 1 or v in edges[v]:
                found.append(sorted(component))

    for v in edges:
        if v not in index:
            visit(v)
    return found


def test_no_module_imports_itself_in_a_circle():
    edges = graph()
    assert sum(map(len, edges.values())) > 100
    assert "minicnn.tensor" in edges["minicnn.ops.conv"]
    assert circles(edges) == []


def test_circles_are_found():
    edges = defaultdict(set, {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"e"}})
    assert circles(edges) == [["a", "b", "c"], ["e"]]


# -------------------------------------------------------------------------------------------------- what it never does


def test_no_file_is_run_as_code_but_the_users_own():
    """No pickle, eval or exec: a model file can't run anything.

    gradcheck FILE.py, course check FILE.py and claim FILE.py run the file that they are given; the device "emulated"
    loads the source tree's own tests/emulator.
    """
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
                banned = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"} & {
                    m.split(".")[0] for m in modules}
                assert not banned, f"{name} imports {banned}"
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).removeprefix("builtins.")           # model.eval() is another thing
                assert called not in ("eval", "exec", "compile", "__import__"), f"{name}:{node.lineno} calls {called}"
                if called.endswith(".exec_module"):
                    assert name in ("minicnn.cli.user_file", "minicnn.course.worker", "minicnn.claims.files",
                                    "minicnn.devices")
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert ast.unparse(keyword.value) == "False", f"{name}:{node.lineno} allows pickles"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_too_long_to_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


PROGRAMS = "minicnn.app.retrain", "minicnn.app.standalone"
"""Started as processes of their own: the one tells the app how far it is, the other an exported folder's address."""


def test_print_is_for_the_command_line():
    for name, tree in TREES.items():
        calls = [node.lineno for node in ast.walk(tree)
                 if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"]  # fmt: skip
        if not name.startswith(("minicnn.cli", "minicnn.data.digits.make", *PROGRAMS)):
            assert not calls, f"{name}:{calls[0]} prints"


# --------------------------------------------------------------------------------------------- that it explains itself


def modules():
    for info in pkgutil.walk_packages([str(PACKAGE)], "minicnn."):
        yield importlib.import_module(info.name)


def test_every_module_says_what_it_is():
    for name, tree in TREES.items():
        assert ast.get_docstring(tree), f"{name} has no docstring"


def public(module):
    """(name, object) of what a module itself defines and does not hide."""
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
        if own and (inspect.isclass(value) or inspect.isfunction(value)):
            yield f"{module.__name__}.{name}", value


def own_doc(value):
    """Its own docstring: one that a class inherits explains another class."""
    return vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__


def test_everything_public_has_a_docstring():
    missing, seen = [], 0
    for module in modules():
        # backends of the Device interface: their primitives are explained where they are promised, in device.py
        if module.__name__.startswith(("minicnn.cpu", "minicnn.gpu", "minicnn.meta")):
            continue
        for name, value in public(module):
            seen += 1
            if not (own_doc(value) or "").strip():
                missing.append(name)
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        seen += 1
                        inherited = any(method in vars(base) for base in value.__mro__[1:])
                        if not (function.__doc__ or "").strip() and not inherited:
                            missing.append(f"{name}.{method}")
    assert missing == []
    assert seen > 250


def test_every_primitive_that_the_cpu_keeps_is_promised_and_explained():
    from minicnn import cpu
    from minicnn.device import Device

    promised = {name for name in vars(Device) if not name.startswith("_")} | set(Device.__annotations__)
    assert promised == set(cpu.__all__)
    for name in promised - set(Device.__annotations__):
        value = vars(Device)[name]
        assert (value.fget if isinstance(value, property) else value).__doc__, f"Device.{name}"


FORMULA = re.compile(r"(^|[\s,;])[\w∂θσμ]+(\[[^\]]*\])* = \S|The mean (of|over) ", re.MULTILINE)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_op_states_its_formula(row):
    assert FORMULA.search(row.op.__doc__), f"{row.name}: the docstring holds no formula"


def test_the_pattern_of_a_formula():
    assert FORMULA.search("y = max(x, 0)")
    assert FORMULA.search("Cross-correlate.\n\n        y[n,o,i,j] = b[o] + Σ w")
    assert not FORMULA.search("Computes the activation. Very fast.")


# -------------------------------------------------------------------------------------------------- names and versions


@pytest.mark.parametrize("module", [minicnn, nn, importlib.import_module("minicnn.optim"),
                                    importlib.import_module("minicnn.data"), importlib.import_module("minicnn.train"),
                                    importlib.import_module("minicnn.inspect"), importlib.import_module("minicnn.cpu")],
                         ids=lambda m: m.__name__)
def test_all_lists_what_there_is(module):
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_nn_exports_every_layer_there_is():
    layers = {name.rpartition(".")[2] for module in modules() if module.__name__.startswith("minicnn.nn.")
              for name, value in public(module) if inspect.isclass(value)}
    assert layers <= set(nn.__all__), "a layer that nobody can find"
    assert nn.__all__ == sorted(nn.__all__)


def test_the_table_of_models():
    assert models.names() == list(models.MODELS)
    for name, (builder, shape) in models.MODELS.items():
        assert callable(builder)
        assert name == name.lower()
        assert len(shape) == 3
        assert all(isinstance(n, int) and n > 0 for n in shape)
        assert {"num_classes", "in_channels"} <= set(inspect.signature(builder).parameters)
        assert builder.__doc__, f"{name}: no docstring"
        told = f"{inspect.getmodule(builder).__doc__} {builder.__doc__}"
        assert re.search(r"\d,\d{3}", told), f"{name}: its docstring does not count the parameters"


def test_the_version_is_the_distributions():
    assert re.fullmatch(r"\d+\.\d+\.\d+", minicnn.__version__)
    try:
        installed = importlib.metadata.version("minicnn-numpy")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("minicnn is imported from its folder, not installed")
    assert installed == minicnn.__version__


@pytest.mark.parametrize("name", ["Tensor", "gradcheck", "ops", "models", "fit"])
def test_a_name_is_there_alone_and_a_tensor_has_its_operators(name):
    """`import minicnn` loads nothing; the first use of a name loads what it needs, and `dir` lists it before."""
    code = (f"import sys, minicnn; assert 'numpy' not in sys.modules; assert {name!r} in dir(minicnn); "
            f"from minicnn import {name}; assert {name} is minicnn.{name}; "
            "from minicnn.tensor import Tensor; (Tensor(2.0, requires_grad=True) * 3).sum().backward()")
    python(code)


def test_what_users_rely_on_is_there():
    from minicnn import Tensor, gradcheck, no_grad, optim, seed
    from minicnn.ops.conv import conv2d
    from minicnn.ops.lrn import local_response_norm
    from minicnn.ops.pool import avg_pool2d, lp_pool2d, max_pool2d

    for function in (Tensor, no_grad, seed, gradcheck, minicnn.available_devices, models.build, models.names, optim.SGD,
                     conv2d, local_response_norm, max_pool2d, avg_pool2d, lp_pool2d):  # fmt: skip
        assert callable(function)
    for method in ("numpy", "backward"):
        assert callable(getattr(Tensor, method))
    for method in ("train", "eval", "to", "state_dict", "load_state_dict", "parameters"):
        assert callable(getattr(nn.Module, method))


def test_the_parts_are_there_without_being_imported_by_name():
    code = "import minicnn; minicnn.models.build('lenet5'); minicnn.optim.SGD; minicnn.ops; print(minicnn.gradcheck)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("<function gradcheck")
    with pytest.raises(AttributeError, match=r"^minicnn has no attribute 'modles': its parts are data, explain, "):
        minicnn.modles  # noqa: B018 - asking is the test
