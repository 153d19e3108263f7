"""mpiexec -n 2 python -m tests.ranks.towers: AlexNet of 2012 with a tower a rank has the gradients of the whole net.

Width 1/8, float64, dropout. Rank 0 prints JSON, [[loss, gradients, share of the weights] of each rank]: the differences
from the whole net, in a line for LRN across the towers, and one for LRN within them.
"""

import json

import numpy as np

from minicnn import models, nn, ranks, rng
from minicnn.models.towers import Tower
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor


def main():
    with ranks.joined(60) as team:
        for per_tower in (False, True):
            rng.seed(0)
            whole = models.build("alexnet", num_classes=10, variant="paper", width=1 / 8, lrn_per_tower=per_tower)
            whole = whole.astype("float64").train()
            layers = [m for m in [*whole["features"], *whole["classifier"]] if isinstance(m, (nn.Conv2d, nn.Linear))]
            for m in layers:                               # N(0, 0.01²) leaves nothing of the signal at this width
                m.weight.data = m.weight.data * 10
            net = Tower(whole, team).astype("float64").train()
            draws = np.random.default_rng(3)
            x, t = Tensor(draws.standard_normal((2, 3, 227, 227))), np.array([1, 7])
            rng.seed(4)
            loss = cross_entropy(whole(x), t)
            loss.backward()
            rng.seed(4)
            own = cross_entropy(net(x), t)
            net.backward(own)
            halves = [part.layer for part in net.parts if hasattr(part, "gathers")]
            worst = 0.0
            for i, (a, b) in enumerate(zip(layers, halves, strict=True)):
                for name in ("weight", "bias"):
                    want, got = getattr(a, name).grad, getattr(b, name).grad
                    scale, share = abs(want).max(), len(want) // team.size
                    if i < len(layers) - 1:
                        want = want[team.rank * share : (team.rank + 1) * share]
                    worst = max(worst, abs(want - got).max() / scale)
            size = sum(p.size for p in net.parameters()) / sum(p.size for p in whole.parameters())
            found = team.gather(np.array([abs(loss.item() - own.item()), worst, size]))
            if team.rank == 0:
                print(json.dumps(found.tolist()), flush=True)


if __name__ == "__main__":
    main()
