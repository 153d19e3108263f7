"""The GPU backend, with CuPy and the CUDA kernels in kernels/*.cu: the class `Gpu`.

The CuPy module is an argument, not an import, so tests can pass another module, which runs the kernels on a CPU. Each
primitive is a function in the file with the same name as in cpu/; its first argument is the Gpu.

Images are stored as (N, C, H, W): neighbouring threads work on neighbouring pixels of a row, so that a warp of 32
threads reads and writes contiguous memory.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from minicnn.gpu import batch_norm, conv, dropout, elements, gemm, lrn, pool, softmax, update
from minicnn.gpu.kernel_file import FOLDER, Kernel, KernelFile


class Gpu:
    """A backend (device.Device).   xp: CuPy, or a replacement.   folder: the folder of the kernels."""

    recomputes_relu = False

    def __init__(self, xp: Any, name: str, folder: Path = FOLDER):
        self.xp, self.name, self.folder = xp, name, folder
        self.cache: dict[Any, Any] = {}
        """Data that algorithms reuse between calls: the tables of taps of each geometry."""
        self._files: dict[str, KernelFile] = {}

    def kernel(self, file: str, name: str, *arguments: Any) -> Kernel:
        """`gpu.kernel("im2col.cu", "im2col", x.dtype)`: a kernel of kernels/im2col.cu, with its template arguments."""
        if file not in self._files:
            self._files[file] = KernelFile(self.xp, self.folder / file)
        return self._files[file].kernel(name, *arguments)

    @functools.cached_property
    def multiprocessors(self) -> int:
        """The GPU's number of multiprocessors; each runs one or several blocks at a time."""
        return int(self.xp.cuda.Device().attributes["MultiProcessorCount"])

    @functools.cached_property
    def compute_capability(self) -> int:
        """The GPU's generation: 75 (Turing), 80 (Ampere), 90 (Hopper), 100 (Blackwell)."""
        return int(self.xp.cuda.Device().compute_capability)

    def asarray(self, values, dtype=None):
        """The values, an array of NumPy or of this device, as an array of this device."""
        return self.xp.asarray(values, dtype)

    def to_numpy(self, array):
        """A NumPy copy."""
        return array.get()

    def synchronize(self):
        """Wait until all launched kernels have finished."""
        self.xp.cuda.get_current_stream().synchronize()

    elementwise = elements.elementwise
    evaluate = elements.evaluate
    relu = elements.relu
    relu_dx = elements.relu_dx
    add = elements.add
    add_relu = elements.add_relu
    add_at = elements.add_at
    matmul = gemm.matmul
    conv2d = conv.conv2d
    conv2d_dx = conv.conv2d_dx
    conv2d_dw = conv.conv2d_dw
    max_pool2d = pool.max_pool2d
    max_pool2d_dx = pool.max_pool2d_dx
    avg_pool2d = pool.avg_pool2d
    avg_pool2d_dx = pool.avg_pool2d_dx
    lp_pool2d = pool.lp_pool2d
    lp_pool2d_dx = pool.lp_pool2d_dx
    channel_sums = batch_norm.channel_sums
    batch_norm_stats = batch_norm.batch_norm_stats
    batch_norm_apply = batch_norm.batch_norm_apply
    batch_norm_sums = batch_norm.batch_norm_sums
    batch_norm_dx = batch_norm.batch_norm_dx
    local_response_norm = lrn.local_response_norm
    local_response_norm_dx = lrn.local_response_norm_dx
    cross_entropy = softmax.cross_entropy
    cross_entropy_dx = softmax.cross_entropy_dx
    dropout_mask = dropout.dropout_mask
    sgd_update = update.sgd_update
    adam_update = update.adam_update
