"""The loader: every picture once an epoch, and the same bits for any workers and any start."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minicnn import data
from minicnn.data import decode
from tests.data.pictures import make_folder
from tests.work import NEVER

PREPARE = data.Preprocessing((12, 16), (0.5,) * 3, (0.25,) * 3)
EVERYTHING = "random-resized:0.3 flip pad-crop:2 jitter:0.3 lighting cutout:3 mixup:0.4"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return data.ImageFolder(make_folder(tmp_path_factory.mktemp("p"), {"a": 13, "b": 10}, suffix=".jpg"),
                            test=0, validation=0).train  # fmt: skip


def loader(files, **options):
    options = {"transform": data.Transform(PREPARE, EVERYTHING), "shuffle": True, "seed": 3, **options}
    return data.Loader(files, 4, **options)


def bits(batch):
    mixed = batch.mixed and (batch.mixed.others.tobytes(), batch.mixed.share)
    return batch.images.tobytes(), batch.labels.tobytes(), batch.indices.tobytes(), mixed


def test_an_epoch_gives_every_picture_once_with_its_label(files):
    batches = list(loader(files, transform=data.Transform(PREPARE)))
    assert [len(batch.labels) for batch in batches] == [4, 4, 4, 4, 4, 3]
    order = np.concatenate([batch.indices for batch in batches])
    assert sorted(order.tolist()) == list(range(23))
    assert order.tolist() != list(range(23))
    for batch in batches:
        assert batch.mixed is None
        assert batch.images.dtype == np.float32
        assert batch.labels.tolist() == files.labels[batch.indices].tolist()
        for image, i in zip(batch.images, batch.indices):
            np.testing.assert_array_equal(image, PREPARE.normalise(PREPARE.read(files.picture(i))))


def test_without_shuffling_the_order_is_the_datasets(files):
    order = np.concatenate([batch.indices for batch in loader(files, shuffle=False, drop_last=True)])
    assert order.tolist() == list(range(20))


@pytest.mark.parametrize(("workers", "processes"), [(1, False), (3, False), (2, True)])
def test_bits_do_not_depend_on_the_workers(files, workers, processes):
    alone = [bits(batch) for batch in loader(files, epoch=2)]
    with loader(files, epoch=2, workers=workers, processes=processes) as many:
        assert [bits(batch) for batch in many] == alone
        assert (many.epoch, many.batch) == (3, 0)
        second = [bits(batch) for batch in many]           # another epoch, by the same workers
    assert second == [bits(batch) for batch in loader(files, epoch=3)]
    assert second != alone


@pytest.mark.parametrize("problem", [PermissionError(13, "Permission denied"), OSError(38, "Function not implemented"),
                                     NotImplementedError("no sem_open")])
def test_without_shared_memory_the_workers_are_threads_and_that_is_said(files, monkeypatch, problem):
    """Processes share semaphores, which lie in /dev/shm."""
    def refuse(self, *args, **kwargs):
        raise problem

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refuse)
    with loader(files, workers=2, processes=True) as many:
        with pytest.warns(RuntimeWarning, match=r"^the loader's workers are threads, because this system can't start"):
            found = [bits(batch) for batch in many]
        assert [bits(batch) for batch in many] == [bits(batch) for batch in loader(files, epoch=1)], "told once"
    assert found == [bits(batch) for batch in loader(files)]


def test_it_goes_on_at_any_batch_bit_for_bit(files):
    whole = [bits(batch) for epoch in (0, 1) for batch in loader(files, epoch=epoch)]
    for stop in range(13):
        first, seen = loader(files, workers=2), []
        while len(seen) < stop:
            for batch in first:
                seen.append(bits(batch))
                if len(seen) == stop:
                    break
        epoch, batch = first.epoch, first.batch            # what a checkpoint keeps
        first.close()
        rest = loader(files, epoch=epoch, batch=batch, workers=1)
        while rest.epoch < 2:
            seen += [bits(batch) for batch in rest]
        rest.close()
        assert seen == whole


def test_seeds_and_epochs_differ(files):
    def order(**where):
        return np.concatenate([batch.indices for batch in loader(files, **where)]).tolist()

    orders = [order(seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4
    assert order(seed=1) == orders[2]


def test_augmentation_is_drawn_anew_in_every_epoch_and_batch(files):
    same = files.select([0] * 8)                           # one picture, eight times
    drawn = [batch.images.tobytes() for epoch in (0, 1) for batch in loader(same, shuffle=False, epoch=epoch)]
    assert len(set(drawn)) == 4


def test_an_array_dataset_is_read_like_a_folder():
    digits = data.load("digits").test.select(range(10))
    prepare = data.Preprocessing((28, 28), (0.13,), (0.31,), 1)
    batch = next(iter(data.Loader(digits, 10, transform=data.Transform(prepare))))
    np.testing.assert_array_equal(batch.images, data.normalise(digits.images, (0.13,), (0.31,)))
    large = data.Preprocessing((56, 56), (0.5,) * 3, (0.5,) * 3)
    assert next(iter(data.Loader(digits, 5, transform=data.Transform(large)))).images.shape == (5, 3, 56, 56)


class Slow:
    """A transform that remembers how many batches it has begun."""

    def __init__(self, seconds=0.0):
        self.begun, self.threads, self.seconds = 0, set(), seconds

    def __call__(self, pictures, labels, rng):
        self.begun += 1
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        return np.zeros((len(labels), 1), np.float32), None


def until(condition):
    end = time.monotonic() + NEVER
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_workers_are_ahead_but_not_further_than_asked(files):
    slow = Slow()
    with data.Loader(files, 1, transform=slow, workers=2, prefetch=3) as ahead:
        batches = iter(ahead)
        next(batches)
        until(lambda: slow.begun == 7)                     # the one that was given, and 2 × 3 more
        time.sleep(0.05)
        assert slow.begun == 7
        next(batches)
        until(lambda: slow.begun == 8)
        batches.close()
    assert all(name.startswith("minicnn-loader") for name in slow.threads)


def test_closing_waits_for_the_batch_that_is_being_read_and_drops_those_that_wait(files, monkeypatch):
    go, begun = threading.Event(), []

    def read(pictures, labels, rng):
        begun.append(len(pictures))
        assert len(begun) == 1 or go.wait(NEVER)           # the second batch, and all others
        return np.zeros((len(labels), 1), np.float32), None

    def shut(pool, **how):
        shutdown(pool, wait=False, **how)
        go.set()
        shutdown(pool)

    shutdown = ThreadPoolExecutor.shutdown
    ahead = data.Loader(files, 1, transform=read, workers=1, prefetch=9)
    batches = iter(ahead)
    next(batches)
    until(lambda: len(begun) == 2)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shut)
    ahead.close()
    assert len(begun) == 2


def test_leaving_early_leaves_no_thread_behind(files):
    with data.Loader(files, 2, transform=Slow(0.01), workers=2) as early:
        for _ in early:
            break
    assert not [t for t in threading.enumerate() if t.name.startswith("minicnn-loader") and t.is_alive()]


@pytest.mark.parametrize(("workers", "processes"), [(0, False), (2, False), (1, True)])
def test_a_bad_picture_is_named_at_its_batch(tmp_path, workers, processes):
    folder = make_folder(tmp_path, {"a": 6, "b": 6})
    files = data.ImageFolder(folder, test=0, validation=0).train
    content = (folder / "b" / "001.png").read_bytes()
    (folder / "b" / "001.png").write_bytes(content[: len(content) // 2])
    with loader(files, shuffle=False, workers=workers, processes=processes) as some:
        batches = iter(some)
        next(batches)                                      # pictures 0 … 3; number 7 is in the second batch
        with pytest.raises(ValueError, match=r"b/001.png cannot be decoded \(.*\): it is damaged, cut short") as error:
            next(batches)
        assert "\n" not in str(error.value)
        assert (some.epoch, some.batch) == (0, 1)


@pytest.mark.parametrize(("options", "error", "sentence"), [
    ({"workers": -1}, ValueError, r"workers \(=-1\) must be at least 0"),
    ({"workers": 1.5}, TypeError, "workers must be an integer, not 1.5"),
    ({"epoch": -1}, ValueError, r"epoch \(=-1\)"), ({"seed": -1}, ValueError, r"seed \(=-1\)"),
    ({"prefetch": 0}, ValueError, r"prefetch \(=0\) must be at least 1"),
    ({"batch": 7}, ValueError, r"batch \(=7\) must be at most 6, the number of batches in an epoch"),
])
def test_what_a_loader_cannot_be(files, options, error, sentence):
    with pytest.raises(error, match=sentence):
        loader(files, **options)


def test_warnings_of_other_threads_are_not_lost_when_pictures_are_read(files):
    """Python's filters are one for all threads; those of the loader put back what they found."""
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with loader(files, workers=3) as some:
            for _ in some:
                warnings.warn("mine", stacklevel=1)
        assert warnings.filters == before
        assert len(caught) == 6
    assert decode._QUIET.inside == 0




@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.parametrize("words", [EVERYTHING, ""])
def test_pieces_of_ranks_make_up_the_batch(files, ranks, words):
    """23 pictures in batches of 4: the last batch has 3, fewer than five ranks."""
    transform = data.Transform(PREPARE, words)
    alone = list(loader(files, epoch=1, transform=transform))
    parts = [list(loader(files, epoch=1, transform=transform, part=(r, ranks))) for r in range(ranks)]
    for b, batch in enumerate(alone):
        mine = [part[b] for part in parts]
        rows = [piece.first + np.arange(piece.size) for piece in (m.whole.piece for m in mine)]
        assert np.concatenate(rows).tolist() == list(range(len(batch.labels)))
        for m, own in zip(mine, rows):
            own = own if len(own) else [0]                 # a stand-in
            assert m.images.tobytes() == batch.images[own].tobytes()
            assert m.indices.tolist() == batch.indices[own].tolist()
            assert m.whole.labels.tolist() == batch.labels.tolist()
            if words:
                assert m.mixed.others.tolist() == batch.mixed.others[own].tolist()
                assert m.whole.mixed.others.tolist() == batch.mixed.others.tolist()


def test_only_the_pictures_of_a_piece_are_read(files):
    read = []

    class Told:
        labels = files.labels

        def __len__(self): return len(files)

        def picture(self, index):
            read.append(index)
            return files.picture(index)

    batch = next(iter(loader(Told(), transform=data.Transform(PREPARE, "flip"), part=(1, 2))))
    assert read == batch.indices.tolist()
    assert len(read) == 2


def test_a_transform_of_ones_own_makes_the_whole_batch(files):
    def own(pictures, labels, rng):
        return rng.random((len(labels), 1, 2, 2)), None

    alone = next(iter(loader(files, transform=own)))
    last = next(iter(loader(files, transform=own, part=(2, 3))))
    np.testing.assert_array_equal(last.images, alone.images[last.whole.piece.rows])
