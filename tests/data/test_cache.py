# SPDX-License-Identifier: MIT
"""What is kept is read back exactly, or not at all."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from hypersphere.data import cache

KEPT = cache.Kept(torch.arange(48).view(4, 3, 2, 2).to(torch.uint8), torch.tensor([0, 1, 1, 0]), ["a", "ü"])


@pytest.fixture
def kept_at(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "set.safetensors"
    cache.write(path, KEPT, "v1")
    return path


def test_what_is_kept_comes_back(kept_at: Path) -> None:
    found = cache.read(kept_at, "v1")
    assert found is not None
    assert torch.equal(found.images, KEPT.images)
    assert torch.equal(found.labels, KEPT.labels)
    assert found.class_names == KEPT.class_names
    assert [path.name for path in kept_at.parent.iterdir()] == [kept_at.name]


def test_another_version_of_the_files_is_not_read(kept_at: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert cache.read(kept_at, "v2") is None
    assert cache.read(kept_at.with_name("other"), "v1") is None
    assert not caplog.records


def damage_nothing_but_a_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\0" * path.stat().st_size),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"not what it was" * 99),
        damage_nothing_but_a_pixel,
    ],
    ids=["empty", "zeros", "cut", "text", "one bit"],
)
def test_a_damaged_file_is_not_trusted(damage, kept_at: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(kept_at)
    assert cache.read(kept_at, "v1") is None
    assert "is damaged" in caplog.text
    assert "will be made again" in caplog.text
    cache.write(kept_at, KEPT, "v1")
    assert cache.read(kept_at, "v1") is not None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error")])
def test_a_full_disk_is_a_warning(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(tensors: object, filename: str, metadata: object) -> None:
        Path(filename).write_bytes(b"half")
        raise error

    monkeypatch.setattr(cache, "save_file", no_room)
    cache.write(tmp_path / "set.safetensors", KEPT, "v1")
    assert "could not keep the decoded images" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files by resource.setrlimit")
def test_a_disk_that_is_really_full_leaves_the_old_file(kept_at: Path) -> None:
    script = f"""
import resource, torch
from pathlib import Path
from hypersphere.data import cache
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
images = torch.zeros(100, 3, 32, 32, dtype=torch.uint8)
cache.write(Path({str(kept_at)!r}), cache.Kept(images, torch.zeros(100, dtype=torch.int64), ["a"]), "v2")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "could not keep the decoded images" in run.stderr
    assert cache.read(kept_at, "v1") is not None
    assert [path.name for path in kept_at.parent.iterdir()] == [kept_at.name]


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache.write(tmp_path / "file" / "set.safetensors", KEPT, "v1")
    assert "could not keep the decoded images" in caplog.text


def test_what_a_killed_run_left_is_removed_after_a_day(kept_at: Path) -> None:
    old, young = kept_at.with_name(".old.part"), kept_at.with_name(".young.part")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    cache.write(kept_at, KEPT, "v1")
    assert sorted(path.name for path in kept_at.parent.iterdir()) == [".young.part", kept_at.name]


def test_the_fingerprint_sees_every_change(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for path in (first, second):
        path.write_text("same")
    os.utime(first, ns=(0, 10**18))
    before = cache.fingerprint([first, second])
    assert cache.fingerprint([second, first]) == before
    assert cache.fingerprint([first]) != before
    first.write_text("more than before")
    os.utime(first, ns=(0, 10**18))
    resized = cache.fingerprint([first, second])
    os.utime(first, ns=(0, 10**18 + 1))
    assert len({before, resized, cache.fingerprint([first, second])}) == 3
    with pytest.raises(FileNotFoundError, match="missing"):
        cache.fingerprint([tmp_path / "missing"])


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSPHERE_CACHE", "here")
    assert cache.cache_folder() == Path("here")
    monkeypatch.delenv("HYPERSPHERE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "there")
    assert cache.cache_folder() == Path("there/hypersphere")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache/hypersphere"


def test_settings_have_files_of_their_own() -> None:
    assert cache.cache_file("my set/train", [1]) != cache.cache_file("my set/train", [2])
    assert cache.cache_file("my set/train", [1]).name.startswith("my-set-train-")
