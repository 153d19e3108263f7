"""Draws a net, or a block of one, from the graph that its own forward computes (minicnn/lab/look.py)."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures.style import BLUE, GREY, ORANGE, PALE_BLUE, PALE_ORANGE, panels, plain
from minicnn import models, nn
from minicnn.lab.look import Graph, Node
from minicnn.models import (
    densenet,
    googlenet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    nin,
    preact_resnet,
    resnet,
    resnext,
    squeezenet,
)
from minicnn.nn import Module, init

NAMES = {"batch_norm_inference": "batch norm", "max_pool2d": "max pool", "avg_pool2d": "mean pool", "concat": "stack",
         "global_avg_pool2d": "mean of each map", "adaptive_avg_pool2d": "mean of each map",
         "local_response_norm": "LRN", "add": "+", "multiply": "×",
         "hardsigmoid": "hard sigmoid", "hardswish": "hard swish", "image": "maps", "linear": "dense"}  # fmt: skip
QUIET = {"batch_norm_inference", "relu", "relu6", "hardswish"}
"""Ops that a block's box shows as part of the op before, in small letters."""


def label(node: Node, shapes: dict[str, tuple[int, ...]], before: int) -> str:
    """What a node does: of a convolution its window, and whether it is depthwise or in groups."""
    if node.op != "conv2d":
        return NAMES.get(node.op, node.op)
    O, C, KH, KW = shapes[node.weights["w"]]
    kind = "" if before == C else "depthwise " if C == 1 and before == O else f"{before // C} groups, "
    return f"{kind}conv {KH}×{KW}"


class Box:
    """One op with the quiet ops after it."""

    def __init__(self, node: Node, text: str, inputs: list[Box]):
        self.nodes, self.text, self.small, self.inputs = [node], text, [], inputs
        self.row = 1 + max((box.row for box in inputs), default=-1)
        self.lane = 0.0


def boxes(net: Module, shape: tuple[int, ...]) -> list[Box]:
    """The boxes of a net for images or maps of `shape` (C,H,W), each with its row and its lane."""
    graph = Graph(net.eval(), shape)
    shapes = {name: tensor.shape for name, tensor in net.named_state()}
    readers = [sum(node.id in other.inputs for other in graph.nodes) for node in graph.nodes]
    of: dict[int, Box] = {}
    found: list[Box] = []
    for node in graph.nodes:
        first = of[node.inputs[0]] if node.inputs else None
        if node.op in QUIET and first is not None and first.nodes[-1].id == node.inputs[0] and (
                readers[node.inputs[0]] == 1 and first.text not in ("maps",)):  # fmt: skip
            first.nodes.append(node)
            first.small.append(NAMES.get(node.op, node.op))
            of[node.id] = first
            continue
        before = graph.nodes[node.inputs[0]].shape[0] if node.inputs else 0
        inputs = list({id(of[i]): of[i] for i in node.inputs}.values())
        of[node.id] = Box(node, label(node, shapes, before), inputs)
        found.append(of[node.id])
    _lanes(found)
    return found


def _lanes(found: list[Box]) -> None:
    """Boxes of one row beside each other: branches keep the order in which the forward computes them."""
    rows = {box.row: [other for other in found if other.row == box.row] for box in found}
    widest = max(map(len, rows.values()))
    for boxes_of_row in rows.values():
        for k, box in enumerate(boxes_of_row):
            box.lane = (k - (len(boxes_of_row) - 1) / 2) * (widest / len(boxes_of_row) if len(boxes_of_row) > 1 else 1)
    for box in found:                                  # a box with one reader above it stands below that reader
        if len(box.inputs) == 1 and len(rows[box.row]) > 1 and len(rows[box.inputs[0].row]) > 1:
            wanted = box.inputs[0].lane
            if all(other is box or other.lane != wanted for other in rows[box.row]):
                box.lane = wanted


def draw(ax, net: Module, shape: tuple[int, ...], title: str, wide: float = 1.9) -> None:
    """A net from top to bottom: convolutions blue, what joins branches orange, shapes at the side."""
    found = boxes(net, shape)
    at = {id(box): (box.lane * wide * 1.12, -1.0 * box.row) for box in found}
    for box in found:
        x, y = at[id(box)]
        for source in box.inputs:
            x0, y0 = at[id(source)]
            far = box.row - source.row > 1 and abs(x - x0) < 0.1
            how = {"arrowstyle": "->", "color": ORANGE if far else "0.5", "shrinkA": 0, "shrinkB": 0}
            if far:                                    # a shortcut: around the boxes between
                how["connectionstyle"] = f"arc3,rad={-0.9 / (box.row - source.row) - 0.12:.2f}"
                ax.annotate("", (x + wide / 2, y), (x0 + wide / 2, y0), arrowprops=how, zorder=0)
            else:                                      # straight down its own lane to the row above, then across
                ax.plot([x0, x0], [y0 - 0.33, y + 0.67], color="0.5", linewidth=1, zorder=0)
                ax.annotate("", (x, y + 0.33), (x0, y + 0.67), arrowprops=how, zorder=0)
        weighted, join = box.nodes[0].op in ("conv2d", "linear"), box.text in ("+", "stack", "×")
        face, edge = (PALE_BLUE, BLUE) if weighted else (PALE_ORANGE, ORANGE) if join else ("white", GREY)
        ax.add_patch(Rectangle((x - wide / 2, y - 0.33), wide, 0.66, facecolor=face, edgecolor=edge))
        size = "×".join(map(str, box.nodes[-1].shape))
        ax.text(x, y + 0.14, box.text, ha="center", va="center", fontsize=8)
        ax.text(x, y - 0.15, " · ".join([*box.small, size]), ha="center", va="center", fontsize=6, color=GREY)
    xs, depth = [x for x, _ in at.values()], max(box.row for box in found)
    plain(ax, min(xs) - wide * 0.6, max(xs) + wide * 1.1, -depth - 0.5, 0.6)
    ax.set_title(title, fontsize=9)


def sheet(rows: list[list[tuple[Module, tuple[int, ...], str]]], height: float) -> Figure:
    """Several nets in a figure."""
    figure, _ = panels(1, 9.4, height)
    figure.clear()
    for axes, nets in zip(figure.subplots(len(rows), len(rows[0]), squeeze=False), rows):
        for ax, (net, shape, title) in zip(axes, nets):
            draw(ax, net, shape, title)
    return figure


@init.shapes_only()
def straight() -> Figure:
    """Nets, or their first layers, in which each layer reads only the one before."""
    return sheet([[
        (models.build("lenet5"), (1, 28, 28), "LeNet-5 (1998), as it is built today"),
        (models.build("alexnet", variant="paper")["features"][:8], (3, 227, 227), "AlexNet (2012): the first layers"),
        (nin.MLPConv(3, 192, 160, 96, 5, 1, 2), (3, 32, 32), "Network in Network (2013): a block"),
        (models.build("vgg16")["features"][:10], (3, 224, 224), "VGG-16 (2014): the first two stages"),
    ]], 6.0)  # fmt: skip


@init.shapes_only()
def inception() -> Figure:
    """GoogLeNet's first inception module, as the paper has it."""
    module = googlenet.Inception(192, 64, 96, 128, 16, 32, 32, variant="paper")
    return sheet([[(module, (192, 28, 28), "GoogLeNet (2014): inception 3a")]], 3.6)


@init.shapes_only()
def residual() -> Figure:
    """Blocks in which a shortcut goes around some layers."""
    return sheet([[
        (resnet.BasicBlock(64, 64), (64, 56, 56), "ResNet-18 (2015): basic block"),
        (resnet.Bottleneck(256, 256), (256, 56, 56), "ResNet-50: bottleneck"),
        (preact_resnet.PreActBlock(64, 64), (64, 32, 32), "pre-activation ResNet (2016)"),
    ], [
        (resnext.aggregated(32, 4)(256, 256, 1), (256, 56, 56), "ResNeXt-50 (2016): 32 paths as groups"),
        (densenet.DenseBlock(2, 64, 32), (64, 56, 56), "DenseNet-121 (2016): two layers"),
        (squeezenet.Fire(96, 16, 64), (96, 55, 55), "SqueezeNet (2016): fire module"),
    ]], 9.0)  # fmt: skip


@init.shapes_only()
def small() -> Figure:
    """MobileNet's three blocks."""
    return sheet([[
        (mobilenet_v1.DepthwiseSeparable(32, 64), (32, 112, 112), "MobileNet V1 (2017)"),
        (mobilenet_v2.InvertedResidual(24, 24, 1, 6), (24, 56, 56), "MobileNet V2 (2018)"),
        (mobilenet_v3.InvertedResidual(40, 5, 120, 40, True, nn.ReLU, 1), (40, 28, 28), "MobileNet V3 (2019)"),
    ]], 6.4)  # fmt: skip


FIGURES = {"learn-straight.png": straight, "learn-inception.png": inception, "learn-residual.png": residual,
           "learn-small.png": small}  # fmt: skip
