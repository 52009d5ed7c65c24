# SPDX-License-Identifier: MIT
"""Named sets: a copy at hand, an earlier download, a download, or a sentence, and quickly."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from hypersphere.data.hub import HUB_SETS, hub_folder, local_folder
from pictures import noise, write_parquet


def fill(folder: Path, *splits: str) -> Path:
    for split in splits:
        write_parquet(folder / "plain_text" / f"{split}-00000-of-00001.parquet", noise(1), [0])
    return folder


class Hub:
    """Stands in for `snapshot_download`: what was downloaded before, what a download gives, and who asked."""

    def __init__(self, before: Path | None, download: Path | Exception) -> None:
        self.before, self.download = before, download
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, repository: str, *, repo_type: str, allow_patterns: str, local_files_only: bool = False) -> str:
        assert (repo_type, allow_patterns) == ("dataset", "*.parquet")
        self.asked.append((repository, local_files_only))
        if local_files_only and self.before is None:
            raise LocalEntryNotFoundError("nothing was downloaded")
        answer = self.before if local_files_only else self.download
        if isinstance(answer, Exception):
            raise answer
        return str(answer)


def test_a_copy_at_hand_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "mnist", "train", "test")
    monkeypatch.setenv("HYPERSPHERE_DATA", str(tmp_path))
    assert hub_folder("mnist") == tmp_path / "mnist"


def test_a_download_is_used_again_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(fill(tmp_path, "train", "test"), ConnectionError("no network"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    monkeypatch.setenv("HYPERSPHERE_DATA", str(tmp_path / "elsewhere"))
    assert hub_folder("cifar100") == tmp_path
    assert hub.asked == [("uoft-cs/cifar100", True)]


@pytest.mark.parametrize("before", [None, "train"])
def test_what_is_not_there_or_unfinished_is_downloaded(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fill(tmp_path / "whole", "train", "test")
    hub = Hub(fill(tmp_path / "part", before) if before else None, whole)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    assert hub_folder("fashion_mnist") == whole
    assert hub.asked == [("zalando-datasets/fashion_mnist", True), ("zalando-datasets/fashion_mnist", False)]


def test_without_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = LocalEntryNotFoundError("long story")
    failure.__cause__ = OSError("Name or service\n not known")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub(None, failure))
    with pytest.raises(ConnectionError) as caught:
        hub_folder("cifar10")
    assert str(caught.value) == (
        "cifar10: cannot be downloaded from the Hugging Face hub (uoft-cs/cifar10: Name or service not known); with a "
        "local copy, a folder with train-*.parquet and test-*.parquet, give that folder: --data.name FOLDER."
    )


def test_a_download_that_is_not_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub(None, fill(tmp_path, "test")))
    with pytest.raises(ConnectionError, match=r"\(ylecun/mnist: its files are incomplete\)"):
        hub_folder("mnist")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown data set 'minst': .*\(did you mean 'mnist'\?\)"):
        hub_folder("minst")
    assert set(HUB_SETS) == {"mnist", "fashion_mnist", "cifar10", "cifar100"}


def test_a_set_that_is_not_downloaded_is_a_copy_or_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = (
        r"lfw is not downloaded: let .* HYPERSPHERE_DATA name a folder that holds a folder lfw .* --data.name FOLDER."
    )
    with pytest.raises(FileNotFoundError, match=message):
        local_folder("lfw")
    monkeypatch.setenv("HYPERSPHERE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=message):
        local_folder("lfw")
    (tmp_path / "lfw").mkdir()
    assert local_folder("lfw") == tmp_path / "lfw"
    with pytest.raises(ValueError, match=r"unknown data set 'lwf': choose lfw"):
        local_folder("lwf")
