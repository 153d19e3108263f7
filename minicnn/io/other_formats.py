"""The names of files that hold weights in formats that are not read, and what to do with each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

EXPORT = "in the program that wrote it, save the arrays by name with np.savez or as safetensors"
TORCH = "load it in PyTorch and save its state dict, `torch.save(model.state_dict(), path)`"
ONNX = "take its initializers with the package onnx and save them with np.savez, or train from the original weights"

BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    # a regular expression for the first bytes, and what the file is
    (rb"\x89HDF\r\n", f"an HDF5 file, as Keras and MATLAB write them: {EXPORT}"),
    (rb"\x93NUMPY", "a single array without a name (.npy): save the arrays by name with np.savez"),
    (rb"GGUF|ggml|lmgg|ggjt|tjgg", f"a GGUF or GGML file of llama.cpp, mostly of quantised numbers: {EXPORT}"),
    (rb"....TFL3", f"a TensorFlow Lite model: {EXPORT}"),
    (rb"MATLAB 5\.0|MATLAB 7", f"a MATLAB file: {EXPORT}"),
    (rb"\x08[\x01-\x20](\x12|\x1a|\x22|\x28|\x30|\x3a|\x42)", f"an ONNX model: {ONNX}"),
    (rb"\x0a.{1,3}\x0a|\x08\x01\x12.{1,4}\x0a", f"a protobuf file, as TensorFlow and Caffe write them: {EXPORT}"),
    (rb"PK", "a damaged zip file: get it again"),
    (rb"\x1f\x8b", "a gzip file: unpack it first"),
    (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "a compressed file: unpack it first"),
    (rb"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with `git lfs pull`"),
    (rb"\s*<", "a web page: the download failed"),
    (rb"\s*\{[\s\S]*weight_map", "the index of safetensors or PyTorch files: name one of the files that it lists"),
    (rb"\s*[\{\[]", "a JSON text, not weights: name the file with the arrays"),
    (rb"model_checkpoint_path", f"the list of a folder of TensorFlow checkpoints: {EXPORT}"),
    (rb"[\x81\x82\xde\xdf][\xa0-\xbf\xd9\0]", f"a MessagePack file, as Flax writes them: {EXPORT}"),
)

ENTRIES: tuple[tuple[str, str], ...] = (
    # a regular expression for a name in a zip file, and what the file is
    (r"[^/]+/(code/|constants\.pkl$)", f"a TorchScript program, which torch.jit.load reads: {TORCH}"),
    (r"([^/]+/)?(archive_format$|models/.*\.json$)", f"a program of torch.export: {TORCH}"),
    (r"model\.weights\.h5$", f"a Keras model: {EXPORT}"),
    (r"(.*/)?saved_model\.pb$", f"TensorFlow's SavedModel in a zip: {EXPORT}"),
    (r".*\.(pth|pt|ckpt|bin|safetensors|h5|onnx)$", "a zip file with weights in it: unpack it first"),
)

FOLDERS: tuple[tuple[str, str], ...] = (
    ("saved_model.pb", f"TensorFlow's SavedModel: {EXPORT}"),
    ("checkpoint", f"a folder of TensorFlow checkpoints: {EXPORT}"),
    ("*.index", f"a folder of TensorFlow checkpoints: {EXPORT}"),
    ("*.mlmodel", f"a Core ML package: {EXPORT}"),
    ("data.pkl", "a PyTorch checkpoint that was unpacked: pack the folder into a zip file again, without compression"),
)


def of_bytes(begin: bytes) -> str:
    """What a file is by its first kilobyte; "another format" if that is unknown."""
    if begin[257:262] == b"ustar":
        return ("a tar file, as PyTorch wrote them before version 0.2: unpack it first, or load it in an old PyTorch "
                "and save the state dict")
    return next((what for pattern, what in BEGINNINGS if re.match(pattern, begin, re.DOTALL)), "another format")


def of_zip(names: Iterable[str]) -> str:
    """What a zip file is by the names in it; "" if that is unknown."""
    found = list(names)
    return next((what for pattern, what in ENTRIES if any(re.match(pattern, name) for name in found)), "")


def of_folder(folder: Path) -> str:
    """What a folder is that was given instead of a file."""
    for pattern, what in FOLDERS:
        if next(folder.glob(pattern), None) is not None:
            return what
    inside = sorted(p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".npz", ".pt", ".pth", ".bin"))
    return f"a folder: name the file in it{', such as ' + repr(inside[0]) if inside else ''}"
