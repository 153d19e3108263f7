"""torchvision's classifiers, exported by PyTorch and read from ONNX: their scores and their multiply-adds.

    python -m tests.io.torchvision_nets                    one net of each family
    python -m tests.io.torchvision_nets swin_b vit_l_16    these

Needs PyTorch, torchvision and onnxscript, so it is not part of the suite. Random weights; both exporters. The scores
must agree to 1e-5 of the largest, and the multiply-adds with the published number (`_ops` of the weights' metadata).
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from minicnn import Tensor, inspect, no_grad
from minicnn.io import onnx as onnx_io

ONE_OF_EACH = """
    alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
    mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnext50_32x4d shufflenet_v2_x0_5
    squeezenet1_0 swin_t swin_v2_t vgg11_bn vit_b_32 wide_resnet50_2
""".split()  # noqa: SIM905 - easier to read than a list of strings
SIDES = {"inception_v3": 299, "swin_v2_t": 256, "efficientnet_v2_s": 384}
WORST = 1e-5


def main(names):
    """Compare these nets; exits with 1 if one differs."""
    wrong = 0
    for name in names or ONE_OF_EACH:
        net, images, scores, published = made(name)
        for newer in (False, True):
            line, fine = compared(net, images, scores, published, newer)
            wrong += not fine
            print(f"{name:20} {'newer' if newer else 'older'} exporter   {line}", flush=True)
    sys.exit(wrong > 0)


def made(name):
    """(the net, two images, its scores, its published multiply-adds)"""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)         # the older exporter does not know that operator
    settings = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net = models.get_model(name, weights=None, **settings).eval()
    for module in net.modules():                           # statistics and heads that are not 0 and 1
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    if name.startswith("vit"):
        torch.nn.init.normal_(net.heads.head.weight, 0, 0.05)
    side = SIDES.get(name, 224)
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        return net, images, net(images).numpy(), models.get_model_weights(name).DEFAULT.meta["_ops"]


def compared(net, images, scores, published, newer):
    """(a line of the table, whether all agrees)"""
    from tests.io.torch_nets import exported

    with tempfile.TemporaryDirectory() as folder:
        exported(net, Path(folder) / "net.onnx", newer, batch=1, side=images.shape[-1])
        read = onnx_io.load(Path(folder) / "net.onnx").eval()
    with no_grad():
        found = read(Tensor(images.numpy())).numpy()       # two images, by a file that was made for one
    error = np.abs(found - scores).max() / np.abs(scores).max()
    macs = inspect.summary(read, tuple(images.shape[1:])).totals["macs"] / 1e9
    fine = error <= WORST and abs(macs - published) <= 0.01 * published + 0.0005    # 3 digits
    return f"scores {error:.0e}   GMACs {macs:.3f}, published {published:.3f}{'' if fine else '   DIFFERS'}", fine


if __name__ == "__main__":
    main(sys.argv[1:])
