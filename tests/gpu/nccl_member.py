"""mpiexec -n K python -m tests.gpu.nccl_member [cuda:0]: a step of K ranks whose gradients NCCL adds up on the GPUs.

Rank 0 prints JSON: the largest differences of gradients and loss from those of one process, and what was called when.
Without an argument the device is the emulated one, with tests/emulator/nccl.py in NCCL's place.
"""

import importlib
import json
import sys

import numpy as np

from minicnn import Tensor, devices, nn, ranks, rng, train
from minicnn.data.loader import Batch, Whole
from minicnn.ops.softmax import cross_entropy
from minicnn.piece import piece

N = 7


def build(device):
    """Convolution, batch norm and linear layers, float64, and a parameter that gets no gradient."""
    rng.seed(4)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                        nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3)).astype("float64").to(device)  # fmt: skip
    net.unused = nn.Parameter(np.ones(5))
    return net.to(device)


def step(net, shared, device, images, labels):
    """(gradients, loss, how many calls NCCL had got before the end of backward) of one step."""
    own, team, sent = piece(N, *shared.ranks.part), shared.ranks, []
    batch = Batch(images[own.rows], labels[own.rows], None, None, Whole(own, labels) if team.size > 1 else None)
    finish = type(shared).finish
    shared.finish = lambda *numbers: (sent.append(len(calls(device))), finish(shared, *numbers))[1]
    net.zero_grad()
    x, truth = Tensor(batch.images, device=device), Tensor(batch.labels, device=device)
    with shared.step(batch):
        loss = shared.backward(cross_entropy(net(x), truth))
    on = devices.get(device)
    return [np.zeros(p.shape) if p.grad is None else on.to_numpy(p.grad) for p in net.parameters()], loss, sent


def calls(device):
    return getattr(devices.get(device).xp.cuda.nccl, "calls", [])


def main(device="emulated"):
    train.shared.GPU_BUCKET = 300                          # bytes: several buckets in a small net
    with ranks.joined(60) as team:
        if device == "emulated":
            from mpi4py import MPI

            xp = devices.get(device).xp
            importlib.import_module("minicnn_emulator.nccl").install(xp, MPI.COMM_WORLD.Dup())
        draws = np.random.default_rng(1)
        images, labels = draws.standard_normal((N, 2, 6, 6)), draws.integers(0, 3, N)
        net = build(device)
        alone, loss, _ = step(net, train.Shared(net, ranks.Alone()), device, images, labels)
        shared = train.Shared(net, team)
        assert shared.way == "by NCCL", shared.way
        for _ in range(2):                                 # the second step writes the same buckets
            many, same, sent = step(net, shared, device, images, labels)
        team.in_step("gradients", many)
        if team.rank == 0:
            print(json.dumps({"gradients": max(float(abs(a - b).max()) for a, b in zip(alone, many, strict=True)),
                              "loss": abs(loss - same), "calls": calls(device), "sent": sent}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
