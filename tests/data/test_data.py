"""Split, batches and the handwritten digits."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from labsupport import data


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(n, features=3, classes=2):
    return torch.arange(n * features, dtype=torch.float32).view(n, features), torch.arange(n) % classes


@pytest.fixture
def split():
    return data.Split(pair(5), pair(3), pair(2), class_names=["a", "b"])


def test_split_says_its_sizes_and_cannot_be_changed(split):
    assert repr(split) == "Split(train 5, valid 3, test 2, x 3 float32 on cpu, 2 classes)"
    assert split.class_names == ("a", "b")
    assert split.num_classes == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.train = pair(4)


def test_split_moves_floats_and_keeps_labels(split):
    double = split.to(torch.float64)
    assert [x.dtype for x, _ in (double.train, double.valid, double.test)] == [torch.float64] * 3
    assert double.train[1].dtype == torch.int64
    meta = split.to("meta")
    assert {t.device.type for part in (meta.train, meta.valid, meta.test) for t in part} == {"meta"}
    regression = data.Split(*[(x, x[:, :1]) for x in (torch.ones(2, 3),) * 3]).to(torch.float64)
    assert regression.test[1].dtype == torch.float64
    assert regression.num_classes == 0


def test_split_flattens_images():
    images = (torch.arange(48.0).view(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64))
    flat = data.Split(images, images, images).flat()
    assert torch.equal(flat.valid[0], images[0].view(3, 16))


@pytest.mark.parametrize(
    ("parts", "names", "message"),
    [
        ((pair(5), pair(3), (torch.ones(2, 3), None)), (), r"test must be a pair \(x, y\) of tensors, got tuple"),
        (((torch.ones(4, 3), torch.ones(3)), pair(3), pair(2)), (), "Split: train must have as many x as y"),
        ((pair(5), pair(0), pair(2)), (), r"at least 1, got shapes \(0, 3\) and \(0,\)"),
        ((pair(5), pair(3, features=4), pair(2)), (), "Split: x of valid must fit train's"),
        ((pair(5), pair(3), (pair(2)[0], torch.ones(2))), (), "Split: y of test must fit train's"),
        ((pair(5), pair(3, classes=3), pair(2)), ("a", "b"), r"labels of valid must be in 0 … 1, got 2"),
        (((torch.ones(2, 3), torch.ones(2)),) * 3, ("a", "b"), "Split: y of train must be int64"),
    ],
)
def test_split_refuses(parts, names, message):
    with pytest.raises(ValueError, match=message):
        data.Split(*parts, class_names=names)


def test_split_refuses_an_integer_dtype(split):
    with pytest.raises(ValueError, match=r"target must be a device or a floating-point dtype, got torch\.int64"):
        split.to(torch.int64)


@given(n=st.integers(1, 50), size=st.integers(1, 60), seed=st.integers(0, 99))
def test_batches_visit_each_example_once(n, size, seed):
    x, y = torch.arange(n)[:, None].float(), torch.arange(n)
    got = list(data.batches(x, y, size, generator=seeded(seed)))
    assert [len(part) for part, _ in got] == [size] * (n // size) + ([n % size] if n % size else [])
    assert torch.equal(torch.cat([labels for _, labels in got]).sort().values, y)
    assert all(torch.equal(inputs[:, 0].long(), labels) for inputs, labels in got)


def test_batches_differ_between_epochs_and_repeat_with_the_generator(untouched_global_state):
    x, y = pair(64)
    source = seeded()
    first, second = (torch.cat([x for x, _ in data.batches(x, y, 10, generator=source)]) for _ in range(2))
    again = torch.cat([x for x, _ in data.batches(x, y, 10, generator=seeded())])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_batches_draw_their_order_when_called():
    x, y = pair(64)
    source = seeded()
    early, late = data.batches(x, y, 64, generator=source), data.batches(x, y, 64, generator=source)
    (later, _), (earlier, _) = next(late), next(early)
    source = seeded()
    assert torch.equal(earlier, next(data.batches(x, y, 64, generator=source))[0])
    assert torch.equal(later, next(data.batches(x, y, 64, generator=source))[0])


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
def test_batches_refuse_a_size_at_once(size):
    with pytest.raises(ValueError, match=f"batches: batch_size must be an integer >= 1, got {size!r}"):
        data.batches(*pair(4), size, generator=seeded())


def test_batches_refuse_other_input():
    with pytest.raises(ValueError, match=r"batches: generator must be a torch\.Generator, got 0"):
        data.batches(*pair(4), 2, generator=0)
    with pytest.raises(ValueError, match="must have as many x as y"):
        data.batches(pair(4)[0], pair(3)[1], 2, generator=seeded())


def test_digits_are_scikit_learns_in_another_order(untouched_global_state):
    split = data.digits(generator=seeded())
    assert [len(x) for x, _ in (split.train, split.valid, split.test)] == [1000, 400, 397]
    x = torch.cat([split.train[0], split.valid[0], split.test[0]]).numpy()
    y = torch.cat([split.train[1], split.valid[1], split.test[1]]).numpy()
    truth, labels = load_digits(return_X_y=True)
    rows = sorted(np.c_[16 * x, y].tolist())
    assert rows == sorted(np.c_[truth, labels].tolist())
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert split.class_names == tuple("0123456789")


def test_digits_as_images_are_the_same_digits():
    flat, images = (data.digits(generator=seeded(), flat=flat) for flat in (True, False))
    assert images.train[0].shape == (1000, 1, 8, 8)
    assert torch.equal(images.train[0].flatten(1), flat.train[0])
    other = data.digits(generator=seeded(1))
    assert not torch.equal(other.train[0], flat.train[0])


def test_digits_refuse():
    with pytest.raises(ValueError, match="digits: num_train must be an integer >= 1, got 0"):
        data.digits(num_train=0, generator=seeded())
    with pytest.raises(ValueError, match=r"must be <= 1796, so that a test part is left, got 1400 \+ 397"):
        data.digits(num_train=1400, num_valid=397, generator=seeded())
    with pytest.raises(ValueError, match=r"digits: generator must be a torch\.Generator, got None"):
        data.digits(generator=None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: data.Split(s.train, s.valid, s.test, "ab"), "Split: class_names must be different .*, got 'ab'"),
        (lambda s: data.Split(s.train, s.valid, s.test, (0, 1)), r"class_names must be different .*, got \(0, 1\)"),
        (lambda s: data.Split(s.train, s.valid, s.test, ["a", "a"]), r"class_names must be different .* \('a', 'a'\)"),
        (lambda s: data.Split(s.train, s.valid, s.test, None), "Split: class_names must be different .*, got None"),
        (lambda s: data.Split((s.train[0], s.train[1].to("meta")), s.valid, s.test), "train must have x and y on one"),
        (lambda s: data.Split((s.train[0].numpy(), s.train[1]), s.valid, s.test), "got tuple of ndarray, Tensor"),
        (lambda s: s.to("gpu"), "Split.to: target must be a device or a floating-point dtype, got 'gpu'"),
        (lambda s: s.to(None), "Split.to: target must be a device or a floating-point dtype, got None"),
        (lambda s: data.batches(s.train[0], s.train[1].to("meta"), 2, generator=seeded()), "batches: .* one dev"),
        (lambda s: data.digits(flat=(1, 8, 8), generator=seeded()), "digits: flat must be one of True, False, got"),
    ],
)
def test_splits_refuse_look_alikes(split, call, message):
    with pytest.raises(ValueError, match=message):
        call(split)


def test_flat_gives_a_lone_number_a_feature_axis():
    part = (torch.arange(3.0), torch.arange(3.0))
    assert data.Split(part, part, part).flat().train[0].shape == (3, 1)
