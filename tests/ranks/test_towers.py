"""AlexNet's two towers on two ranks, against the whole net."""

import json

import pytest

from minicnn import models
from minicnn.models.towers import Tower
from minicnn.ranks import Alone
from tests.ranks.launch import launch


def test_the_gradients_of_two_towers_are_those_of_the_net():
    ended = launch(2, "-m", "tests.ranks.towers")
    assert ended.returncode == 0, ended.stderr
    across, within = (json.loads(line) for line in ended.stdout.splitlines())
    assert len(across) == len(within) == 2
    for loss, gradients, held in (*across, *within):
        assert loss < 1e-12
        assert gradients < 1e-12
        assert 0.4 < held < 0.6


def test_a_net_that_two_ranks_cannot_share():
    class Two(Alone):
        size = 2

    with pytest.raises(ValueError, match=r"groups=1 can't be shared by 2 ranks: AlexNet's towers need variant='paper'"):
        Tower(models.build("alexnet", variant="paper", groups=3, width=3 / 32), Two())
