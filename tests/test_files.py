"""Tensors on disk: what is written is read, whole or not at all."""

import pytest
import torch

from labsupport import files


def test_what_is_written_is_read(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b/c": torch.tensor(3), "d": torch.zeros(0, dtype=torch.bfloat16)}
    path, note = tmp_path / "new" / "run.safetensors", {"step": 3, "name": "η", "rates": [0.1, None]}
    files.write(path, tensors, note)
    found, said = files.read(path)
    assert said == note and found.keys() == tensors.keys()
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in tensors.items())
    assert list(path.parent.iterdir()) == [path]


def test_tensors_that_share_memory_are_written_each_and_folders_are_made(tmp_path):
    whole = torch.arange(8.0)
    path = tmp_path / "several" / "new" / "folders" / "run"
    files.write(path, {"whole": whole, "again": whole, "half": whole[4:], "every other": whole[::2]}, {})
    found, said = files.read(path)
    assert said == {} and found["half"].tolist() == [4, 5, 6, 7] and found["every other"].tolist() == [0, 2, 4, 6]
    assert torch.equal(found["whole"], whole) and torch.equal(found["again"], whole)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run"
    files.write(path, {"a": torch.ones(1)}, {})
    monkeypatch.setattr(files.os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        files.write(path, {"a": torch.zeros(1)}, {})
    assert files.read(path)[0]["a"].tolist() == [1.0]
    assert files.beside(path).name == "run.part"


def test_what_is_no_such_file_raises_what_is_named(tmp_path):
    (tmp_path / "text").write_text("no tensors")
    for name in ("text", "absent", "."):
        with pytest.raises(files.UNREADABLE):
            files.read(tmp_path / name)


def test_a_file_of_others_has_no_note(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "theirs")
    assert files.read(tmp_path / "theirs") == ({"a": torch.ones(1)}, None)


def test_a_place_is_tried_before_the_work(tmp_path):
    files.check_place("f", "save", tmp_path / "deep" / "run")
    assert list((tmp_path / "deep").iterdir()) == []
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file" / "run", tmp_path / ("x" * 300), 3):
        with pytest.raises(ValueError, match="f: save must be a path that can be written, got"):
            files.check_place("f", "save", bad)
