"""All architectures: one file per paper, and the table of all nets in zoo.py.

    net = models.build("resnet18", num_classes=10)
    models.save("net.safetensors", net);   net = models.load("net.safetensors")

For training (nn/module.py), `net.aux_weights` are the weights of a net's auxiliary outputs in training mode, and
`net.loss`, if it is not None, is the loss of its paper, used instead of cross-entropy.
"""

from minicnn.models.file import check_is, load, save
from minicnn.models.zoo import MODELS, PAPERS, VARIANT_INPUTS, build, input_shape, known, names, resolve, variants

__all__ = [
    "MODELS", "PAPERS", "VARIANT_INPUTS", "build", "check_is", "input_shape", "known", "load", "names", "resolve",
    "save", "variants",
]  # fmt: skip
