"""The memory of a plan: nothing that is still needed is overwritten."""

import numpy as np
import pytest

import minicnn
from minicnn import models
from minicnn.plan.fold import fold
from minicnn.plan.memory import Buffer, Layout, place, total
from minicnn.plan.trace import trace


def end(buffer, images):
    return buffer.start + buffer.values * images


@pytest.mark.parametrize("seed", range(20))
def test_buffers_that_are_used_at_the_same_time_do_not_overlap(seed):
    rng = np.random.default_rng(seed)
    buffers = []
    for _ in range(rng.integers(1, 30)):
        first = int(rng.integers(0, 20))
        buffers.append(Buffer(int(rng.integers(1, 200)), first, first + int(rng.integers(0, 6))))
    size = place(buffers, 3)
    for a in buffers:
        assert a.start % 16 == 0
        assert end(a, 3) <= size
        for b in buffers:
            if a is not b and a.first <= b.last and b.first <= a.last:
                assert end(a, 3) <= b.start or end(b, 3) <= a.start
    busiest = max(sum(b.values * 3 for b in buffers if b.first <= t <= b.last) for t in range(30))
    assert busiest <= size <= total(buffers, 3) + 16 * len(buffers)


def layout(name, shape, **options):
    graph, _, _ = trace(models.build(name, **options), shape, np.dtype(np.float32))
    fold(graph)
    return graph, Layout(graph, set())


def test_a_dense_block_is_one_buffer():
    """Each layer adds its 12 maps to those before it; batch norm reads the first of them, a pixel's maps apart."""
    graph, where = layout("densenet40_12", (3, 32, 32))
    joined = [node for node in graph.nodes if node.kind == "concat"]
    assert len(joined) == 36
    assert all(not where.copied[id(node)] for node in joined)
    assert len({id(where.locations[id(node.y)].buffer) for node in joined}) == 3
    assert where.locations[id(joined[0].y)].pitch == joined[11].y.channels


def test_memory_of_a_chain_is_that_of_its_two_largest_neighbours():
    net = models.build("vgg11", width=0.25)
    plan = minicnn.compile(net, (1, 3, 64, 64))
    if "without" in repr(plan):
        pytest.skip("needs numba")
    rows = [row.bytes for row in plan.explain().rows]
    image = 3 * 64 * 64 * 4
    neighbours = max(a + b for a, b in zip([image, *rows], rows))
    assert neighbours <= plan.memory <= 1.02 * neighbours + 1000


def test_sums_and_activations_are_computed_in_place():
    graph, where = layout("mobilenet_v2", (3, 64, 64))
    for node in graph.nodes:
        if node.kind == "relu6":
            assert where.locations[id(node.y)] is where.locations[id(node.inputs[0])]
        if node.kind == "add":
            assert any(where.locations[id(node.y)] is where.locations[id(x)] for x in node.inputs)
