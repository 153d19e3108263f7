"""minicnn export RUN --onnx FILE"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minicnn import atomic
from minicnn.cli import console
from minicnn.cli.model_name import loaded, model_path


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, a model file (.safetensors), or an ONNX file.")],
    onnx: Annotated[
        Path | None, typer.Option(help="Write an ONNX file, for onnxruntime, OpenCV, TensorRT, a browser.")
    ] = None,
    safetensors: Annotated[
        Path | None, typer.Option(help="Write a model file: PyTorch loads it strictly, minicnn predicts with it.")
    ] = None,
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="ONNX: let the graph normalise; it takes pixels 0..255 as uint8.")
    ] = False,
    fold: Annotated[
        bool, typer.Option("--fold-batchnorm", help="ONNX: fold batch norms into the convolutions before them.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: console.Json = False,
):
    """Write a trained model for other programs: ONNX, safetensors. Labels and preprocessing are inside the file."""
    from minicnn.io import model_file

    if onnx is None and safetensors is None:
        raise console.UsageError("export needs --onnx FILE or --safetensors FILE, or both")
    if (preprocess or fold) and onnx is None:
        raise console.UsageError(f"{'--preprocess' if preprocess else '--fold-batchnorm'} changes an ONNX file only: "
                                 "add --onnx FILE")
    wanted = [(path, ending) for path, ending in ((onnx, ".onnx"), (safetensors, ".safetensors")) if path]
    for path, ending in wanted:
        _check(path, ending, overwrite, model_path(run))
    model, about = loaded(run)
    reports = []
    if onnx:
        reports.append(_onnx(onnx, model, about, preprocess, fold))
    if safetensors:
        model_file.save(safetensors, model, about)
        arrays = model_file.torch_state(model)
        reports.append({"file": str(safetensors), "format": "safetensors", "arrays": len(arrays),
                        "parameters": sum(p.size for p in model.parameters()),
                        "bytes": safetensors.stat().st_size})  # fmt: skip
    if as_json:
        return console.print_json({"model": about.model, "classes": len(about.classes), "files": reports})
    for report in reports:
        for line in _lines(report, about):
            console.say(line, markup=False)


def _check(path: Path, ending: str, overwrite: bool, source: Path) -> None:
    option = "--onnx" if ending == ".onnx" else "--safetensors"
    if path.is_file() and source.exists() and path.samefile(source):
        raise console.UsageError(f"{option} {path} is the file that is exported: choose another name")
    console.check_out(path, (ending,), option, overwrite)


def _onnx(path, model, about, preprocess, fold) -> dict:
    from minicnn.io.onnx import content
    from minicnn.io.onnx.compare import compare

    written, report = content(model, about, preprocess=preprocess, fold=fold)
    compared = compare(written, model, about, preprocess)
    atomic.write(path, written)
    version, difference = compared or (None, None)
    return {"file": str(path), **report, "onnxruntime": version, "largest_difference": difference}


def _lines(report, about):
    yield (f"{report['file']}: {about.model}, {report['parameters']:,} parameters, "
           f"{console.count(len(about.classes), 'class', 'classes')}, {report['bytes'] / 1e6:,.1f} MB")  # fmt: skip
    if report["format"] == "safetensors":
        yield (f"  {report['arrays']} arrays under PyTorch's names: "
               "model.load_state_dict(safetensors.torch.load_file(FILE))")  # fmt: skip
        return
    ends = [f"{end['name']} {end['type']} ({', '.join(map(str, end['shape']))})"
            for end in (report["input"], report["output"])]  # fmt: skip
    same = f"onnxruntime {report['onnxruntime']} gives the same logits"
    folded = f", {report['folded']} batch norms folded" if report["folded"] else ""
    yield f"  opset {report['opset']}, {sum(report['nodes'].values())} nodes{folded}: {' → '.join(ends)}"
    compared = ("not compared: onnxruntime is not installed" if report["onnxruntime"] is None else
                f"{same}, to {report['largest_difference']:.0e} of the largest")  # fmt: skip
    yield f"  checked by {report['checked_with']}; {compared}"
    yield "  its metadata holds labels and preprocessing"
