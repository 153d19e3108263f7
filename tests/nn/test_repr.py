"""What is printed of layers, nets, optimisers and schedules."""

import numpy as np
import pytest

from minicnn import nn, optim
from minicnn.nn import Buffer, Module, Parameter, Sequential


@pytest.mark.parametrize(("layer", "text"), [
    (lambda: nn.Conv2d(3, 8, 3), "Conv2d(3, 8, kernel_size=3)"),
    (lambda: nn.Conv2d(3, 8, 3, bias=False), "Conv2d(3, 8, kernel_size=3, bias=False)"),
    (lambda: nn.Conv2d(4, 8, (3, 5), (2, 1), 1, (1, 2), 4),
     "Conv2d(4, 8, kernel_size=(3, 5), stride=(2, 1), padding=1, dilation=(1, 2), groups=4)"),
    (lambda: nn.Conv2d(3, 8, 3, padding="same"), "Conv2d(3, 8, kernel_size=3, padding='same')"),
    (lambda: nn.Conv2d(3, 8, 3, padding=((0, 1), (2, 2)), flip=True),
     "Conv2d(3, 8, kernel_size=3, padding=((0, 1), (2, 2)), flip=True)"),
    (lambda: nn.Conv2d(3, 8, 3, padding=((1, 1), (1, 1))), "Conv2d(3, 8, kernel_size=3, padding=1)"),
    (lambda: nn.Conv1d(3, 8, 3, padding=(1, 2)), "Conv1d(3, 8, kernel_size=3, padding=(1, 2))"),
    (lambda: nn.MaxPool1d(3, 2, "same"), "MaxPool1d(kernel_size=3, stride=2, padding='same')"),
    (lambda: nn.Conv1d(3, 8, 3), "Conv1d(3, 8, kernel_size=3)"),
    (lambda: nn.ReflectionPad2d((1, 2, 0, 0)), "ReflectionPad2d((1, 2, 0, 0))"),
    (lambda: nn.Linear(4, 2), "Linear(4, 2)"),
    (lambda: nn.Linear(4, 2, bias=False), "Linear(4, 2, bias=False)"),
    (lambda: nn.BatchNorm2d(8), "BatchNorm2d(8)"),
    (lambda: nn.BatchNorm2d(8, eps=1e-3, momentum=0.01, affine=False).freeze(),
     "BatchNorm2d(8, eps=0.001, momentum=0.01, affine=False, frozen=True)"),
    (lambda: nn.LocalResponseNorm(5, k=2, variant="paper"), "LocalResponseNorm(5, k=2, variant='paper')"),
    (lambda: nn.MaxPool2d(2), "MaxPool2d(kernel_size=2)"),
    (lambda: nn.MaxPool2d((3, 2), 2, ceil_mode=True), "MaxPool2d(kernel_size=(3, 2), stride=2, ceil_mode=True)"),
    (lambda: nn.AvgPool2d(3, 3, count_include_pad=False), "AvgPool2d(kernel_size=3, count_include_pad=False)"),
    (lambda: nn.LPPool2d(2, 3), "LPPool2d(2, kernel_size=3)"),
    (lambda: nn.TrainableAvgPool2d(6), "TrainableAvgPool2d(6)"),
    (lambda: nn.AdaptiveAvgPool2d((7, 5)), "AdaptiveAvgPool2d((7, 5))"),
    (lambda: nn.Dropout(), "Dropout(p=0.5)"),
    (lambda: nn.StochasticDepth(0.2, mode="batch"), "StochasticDepth(0.2, mode='batch')"),
    (lambda: nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)"),
    (lambda: nn.Softmax(axis=1), "Softmax(axis=1)"),
    (lambda: nn.ReLU(), "ReLU()"),
    (lambda: nn.Flatten(), "Flatten(start_axis=1)"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), "CrossEntropyLoss(label_smoothing=0.1)"),
])  # fmt: skip
def test_a_layer_shows_each_setting_that_is_not_the_default(layer, text):
    assert repr(layer()) == text


def test_what_is_printed_of_a_layer_builds_it_again():
    for layer in (nn.Conv2d(4, 8, (3, 5), padding=(1, 2), groups=2, bias=False), nn.BatchNorm2d(3, affine=False),
                  nn.MaxPool2d(3, stride=2, padding=1), nn.Linear(5, 6, bias=False)):  # fmt: skip
        again = eval(repr(layer), vars(nn))
        assert repr(again) == repr(layer)
        assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in
                                                                       layer.state_dict().items()}


class Block(Module):
    def __init__(self, channels, depth=2, table=(), scale=1.0):
        self.scale, self.depth = scale, depth
        self.layers = [nn.Linear(channels, channels) for _ in range(depth)]


def test_a_net_of_ones_own_shows_the_arguments_that_it_keeps_and_its_layers():
    assert repr(Block(3, depth=1)) == "Block(depth=1\n  (layers.0): Linear(3, 3)\n)"
    assert repr(Sequential({"a": Block(2), "b": nn.ReLU()})) == (
        "Sequential(\n  (a): Block(\n    (layers.0): Linear(2, 2)\n    (layers.1): Linear(2, 2)\n  )\n"
        "  (b): ReLU()\n)")


def test_parameters_and_buffers_say_what_they_are():
    assert repr(Parameter(np.array([1.0, 2.0]))) == "Parameter([1., 2.], dtype=float64, requires_grad=True)"
    assert repr(Buffer(np.zeros(1, np.float32))) == "Buffer([0.], dtype=float32)"


def test_optimisers_schedules_and_averages():
    net = Sequential(nn.Linear(3, 4), nn.Linear(4, 2, bias=False))
    sgd = optim.SGD(net.parameters(), 0.1, momentum=0.9)
    assert repr(sgd) == "SGD(lr=0.1, momentum=0.9, weight_decay=0.0, nesterov=False; 3 parameters, 24 values)"
    groups = optim.AdamW([{"params": net[0].parameters(), "lr": 0.5}, {"params": net[1].parameters()}], lr=0.25)
    settings = "betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01"
    assert repr(groups) == (f"AdamW(\n  (group 0): lr=0.5, {settings}; 2 parameters, 16 values\n"
                            f"  (group 1): lr=0.25, {settings}; 1 parameter, 8 values\n)")
    step = optim.StepLR(sgd, 3)
    assert repr(step) == "StepLR(step_size=3, t=0, lr=0.1)"
    for _ in range(3):
        step.step()
    assert repr(step) == "StepLR(step_size=3, t=3, lr=0.01)"
    assert repr(optim.CosineAnnealingLR(groups, 10, eta_min=0.1)) == (
        "CosineAnnealingLR(T_max=10, eta_min=0.1, t=0, lr=0.5, 0.25)")
    sgd.param_groups[0]["lr"] = 0.1
    assert repr(optim.WarmUp(optim.StepLR(sgd, 3), 10, start=0.5)) == (
        "WarmUp(StepLR(step_size=3), steps=10, start=0.5, t=0, lr=0.05)")
    assert repr(optim.EMA(net, 0.99)) == "EMA(decay=0.99, t=0; 3 parameters, 24 values)"
