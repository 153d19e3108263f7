"""Several ranks on a GPU: gradients and batch norm's sums are copied to the host, added up there, and copied back."""

import numpy as np

from minicnn import nn, rng
from minicnn.ops import batch_norm
from minicnn.ops.shared import shared_batch_norm
from minicnn.piece import Piece, Shared
from minicnn.ranks import Alone, Pending
from minicnn.tensor import Tensor
from minicnn.train.shared import Shared as SharedStep


class Twins(Alone):
    """Two ranks that compute the same: a sum is twice the own."""

    size = 2

    def sum(self, array):
        assert type(array) is np.ndarray, "MPI takes arrays of the host"
        array *= 2
        return array

    def start_sum(self, array):
        self.sum(array)
        return Pending()

    def gather(self, array):
        assert type(array) is np.ndarray
        return np.stack([array, array])

    def broadcast(self, array):
        assert type(array) is np.ndarray
        return array


def test_gradients_of_twins_are_doubled_and_stay_on_the_device(gpu):
    rng.seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)).to(gpu.name)
    x = Tensor(np.ones((4, 3), np.float32), device=gpu.name)
    net(x).sum().backward()
    alone = [gpu.to_numpy(p.grad) for p in net.parameters()]
    net.zero_grad()
    shared = SharedStep(net, Twins())
    with shared.sending():
        net(x).sum().backward()
    assert shared.finish(1.5, 3) == [3.0, 6.0]
    for p, grad in zip(net.parameters(), alone):
        assert isinstance(p.grad, gpu.xp.ndarray)
        np.testing.assert_array_equal(gpu.to_numpy(p.grad), 2 * grad)


def test_batch_norm_of_twins_is_that_of_one(gpu):
    """The same values twice have the same mean and variance, and dx is that of one."""
    values = np.random.default_rng(1).standard_normal((3, 2, 4, 4)).astype(np.float32)
    found = []
    for device, shared in ((gpu.name, Shared(Piece(0, 3, 6), Twins())), ("cpu", None)):
        x = Tensor(values, requires_grad=True, device=device)
        gamma, beta = (Tensor(np.array(v, np.float32), requires_grad=True, device=device) for v in ([1.5, 2], [0, 1]))
        y = shared_batch_norm(x, gamma, beta, shared=shared) if shared else batch_norm(x, gamma, beta)
        (y * y * y).sum().backward()
        found.append([np.asarray(Tensor(a).numpy()) for a in (y.data, x.grad, gamma.grad, beta.grad)])
    for ours, plain in zip(*found):
        np.testing.assert_allclose(ours, plain, rtol=2e-4, atol=2e-4)
