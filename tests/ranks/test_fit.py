"""`fit` and loops of one's own on two ranks, against one process."""

import json

import numpy as np

from tests.ranks.launch import launch

PROGRAM = """
import json
import numpy as np
import minicnn
from minicnn import Tensor, data, models, optim, ranks, train
from minicnn.ops.softmax import cross_entropy
from tests.train.tiny import TINY

def a_loop(team):
    minicnn.seed(2)
    net, told = models.build("lenet5"), []
    optimizer = optim.SGD(net.parameters(), 0.01, momentum=0.9)
    shared = train.Shared(net, team)
    for batch in TINY.loader(TINY.train, 25, shuffle=True, augment="pad-crop:2", part=team.part):
        optimizer.zero_grad()
        with shared.step(batch):
            told.append(shared.backward(cross_entropy(net(Tensor(batch.images)), batch.labels)))
        optimizer.step()
    return told

def fitted(data, team, **more):
    minicnn.seed(2)
    net = models.build("lenet5")
    history = train.fit(net, data, epochs=2, batch_size=25, lr=1e-3, team=team, **more)
    return history["loss"] + history["val_loss"]

with ranks.joined(60) as team:
    floats = TINY.preprocessing.normalise(TINY.train.images), TINY.train.labels
    batches = [(floats[0][i : i + 25], floats[1][i : i + 25]) for i in range(0, 120, 25)]
    alone = ranks.Alone()
    pairs = [(a_loop(team), a_loop(alone)),
             (fitted(TINY, team, augment="pad-crop:2", verbose=True),
              fitted(TINY, alone, augment="pad-crop:2", verbose=False)),
             (fitted(floats, team, class_weights="balanced", verbose=False),
              fitted(floats, alone, class_weights="balanced", verbose=False)),
             (fitted(batches, team, validation=batches[:2], verbose=False),
              fitted(batches, alone, validation=batches[:2], verbose=False))]
    if team.rank == 0:
        print(json.dumps(pairs))
"""


def test_two_ranks_print_the_losses_of_one_process():
    ended = launch(2, "-c", PROGRAM, MINICNN_CPU="numpy")
    assert ended.returncode == 0, ended.stderr
    *shown, pairs = ended.stdout.splitlines()
    assert sum(line.startswith("epoch  1/2") for line in shown) == 1
    pairs = json.loads(pairs)
    assert [len(many) for many, _ in pairs] == [5, 4, 4, 4]
    for many, alone in pairs:
        np.testing.assert_allclose(many, alone, rtol=1e-5)
        assert 2 < alone[0] < 6
