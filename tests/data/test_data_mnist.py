"""IDX files made here: read, refused, and fetched from a server on this machine."""

import functools
import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as hnp

from labsupport import data
from labsupport.data import idx

rng = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8) % 10,
    "t10k-images-idx3-ubyte": rng.integers(0, 256, (5, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": np.arange(5, dtype=np.uint8),
}


def encode(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


PLAIN = {name: encode(array) for name, array in ARRAYS.items()}
ZIPPED = {name: gzip.compress(content, mtime=0) for name, content in PLAIN.items()}


@pytest.fixture(autouse=True)
def small_checksums(monkeypatch):
    """The tiny files' own checksums in place of MNIST's."""
    table = {
        name: (ARRAYS[name].ndim, hashlib.md5(ZIPPED[name]).hexdigest(), hashlib.md5(PLAIN[name]).hexdigest())
        for name in idx._FILES
    }
    monkeypatch.setattr(idx, "_FILES", table)


def store(folder, *, zipped=True, **changed):
    """The four files in a folder; `changed` gives other bytes for a name's first word, e.g. train_images=…"""
    for name in ARRAYS:
        key = "_".join(name.split("-")[:2])
        content = changed.get(key, (ZIPPED if zipped else PLAIN)[name])
        if content is not None:
            (folder / (f"{name}.gz" if zipped else name)).write_bytes(content)
    return folder


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_read_idx_gives_the_bytes_back(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "some"
    path.write_bytes(encode(array))
    got = data.read_idx(path)
    assert got.dtype == torch.uint8
    assert np.array_equal(got.numpy(), array)


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_reads_both_kinds(tmp_path, zipped):
    split = data.mnist(store(tmp_path, zipped=zipped), num_valid=4)
    for (x, y), (name, rows) in zip(
        (split.train, split.valid, split.test),
        (("train", slice(0, 8)), ("train", slice(8, 12)), ("t10k", slice(None))),
    ):
        truth = ARRAYS[f"{name}-images-idx3-ubyte"][rows]
        assert x.shape == (len(truth), 1, 28, 28)
        assert torch.equal(x[:, 0], torch.from_numpy(truth).float() / 255)
        assert y.tolist() == ARRAYS[f"{name}-labels-idx1-ubyte"][rows].tolist()
    assert split.class_names == tuple("0123456789")


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    store(tmp_path, t10k_labels=None)
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte and .*\.gz are missing; .* download=True"):
        data.mnist(tmp_path)


def recompress(name, content):
    return {name: gzip.compress(content)}


IMAGES = PLAIN["train-images-idx3-ubyte"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_images": ZIPPED["train-images-idx3-ubyte"][:-100]}, "train-images.* is truncated or corrupt"),
        ({"train_images": b"<html>not found</html>"}, "train-images.* is truncated or corrupt"),
        ({"train_labels": ZIPPED["train-labels-idx1-ubyte"][:20] + b"\0" * 9}, "train-labels.* is truncated or corr"),
        ({"train_labels": ZIPPED["train-labels-idx1-ubyte"][:10] + b"\xff" * 30}, "train-labels.* is truncated"),
        (recompress("train_images", IMAGES[:-1]), "is truncated: 9424 bytes announced, got 9423; delete it"),
        (recompress("train_images", IMAGES[:9]), "is truncated: .* announced, got 9"),
        (recompress("train_images", IMAGES + b"!"), "is too long: 9424 bytes announced, got 9425"),
        (recompress("train_images", b"\x00\x00\x0d\x03" + IMAGES[4:]), "must begin with 00 00 08 .*, got 00 00 0d 03"),
        (recompress("train_images", b""), "must begin with 00 00 08 .*, got nothing"),
        (recompress("train_images", IMAGES[:-1] + b"\x07"), "train-images.* is corrupt or not MNIST: MD5"),
        ({"train_images": ZIPPED["train-labels-idx1-ubyte"]}, "must have 3 dimensions, got 1; is it another file"),
    ],
)
def test_a_broken_file_is_named(tmp_path, changed, message):
    assert IMAGES[-1] != 7
    with pytest.raises(ValueError, match=message):
        data.mnist(store(tmp_path, **changed), num_valid=4)


def test_images_and_labels_must_be_as_many(tmp_path, monkeypatch):
    fewer = encode(ARRAYS["t10k-labels-idx1-ubyte"][:4])
    table = {**idx._FILES, "t10k-labels-idx1-ubyte": (1, "", hashlib.md5(fewer).hexdigest())}
    monkeypatch.setattr(idx, "_FILES", table)
    with pytest.raises(ValueError, match=r"t10k-images.* must hold 4 images, one for each label, got 5"):
        data.mnist(store(tmp_path, t10k_labels=gzip.compress(fewer)), num_valid=4)


def test_download_fetches_what_is_missing_and_nothing_else(tmp_path, server, capfd):
    served, address = server
    store(served)
    root = tmp_path / "new" / "root"
    first = data.mnist(root, num_valid=4, download=True, mirror=address)
    assert sorted(p.name for p in root.iterdir()) == sorted(f"{name}.gz" for name in ARRAYS)
    assert "train-images" in capfd.readouterr().err  # the progress bar
    kept = (root / "train-images-idx3-ubyte.gz").stat().st_mtime_ns
    (root / "t10k-images-idx3-ubyte.gz").unlink()
    again = data.mnist(root, num_valid=4, download=True, mirror=address + "/")
    assert torch.equal(first.test[0], again.test[0])
    assert (root / "train-images-idx3-ubyte.gz").stat().st_mtime_ns == kept


@pytest.mark.parametrize("damage", [lambda b: b[:-50], lambda b: b[:200] + b"?" + b[201:]])
def test_a_damaged_download_leaves_nothing_behind(tmp_path, server, damage):
    served, address = server
    store(served, train_images=damage(ZIPPED["train-images-idx3-ubyte"]))
    root = tmp_path / "root"
    with pytest.raises(ValueError, match=r"mnist: http://127.*train-images.* is truncated or corrupt: MD5 must be"):
        data.mnist(root, download=True, mirror=address)
    assert list(root.iterdir()) == []


def test_an_unreachable_mirror_is_named(tmp_path, server):
    _, address = server
    with pytest.raises(OSError, match=r"mnist: cannot fetch http://127.*train-images.*: .*name another mirror"):
        data.mnist(tmp_path / "root", download=True, mirror=address)
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_valid": 0}, "mnist: num_valid must be an integer >= 1, got 0"),
        ({"num_valid": 12}, "mnist: num_valid must be <= 11, got 12"),
        ({"mirror": "file:///etc"}, "mnist: mirror must be an http or https address, got 'file:///etc'"),
    ],
)
def test_mnist_refuses(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        data.mnist(store(tmp_path), **options)


def test_nothing_is_unpickled(tmp_path):
    import pickle

    with pytest.raises(ValueError, match="must begin with 00 00 08"):
        data.mnist(store(tmp_path, train_images=gzip.compress(pickle.dumps(list(range(99))))))


@pytest.mark.parametrize("mirror", ["http://exa mple", "http://127.0.0.1:abc"])
def test_a_mirror_with_a_broken_address_is_named(tmp_path, mirror):
    with pytest.raises(OSError, match=r"mnist: cannot fetch http.*name another mirror"):
        data.mnist(tmp_path, download=True, mirror=mirror)
    with pytest.raises(ValueError, match="mnist: download must be one of True, False, got 'no'"):
        data.mnist(tmp_path, download="no")
