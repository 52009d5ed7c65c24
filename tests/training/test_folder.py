# SPDX-License-Identifier: MIT
"""A run folder is never written over, never resumed with other settings, never shared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hypersphere.training.folder import CONFIG_FILE, check_folder, claimed, result_stem
from hypersphere.training.settings import make_config, save_config

CONFIG = make_config("digits")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has begun."""
    folder = tmp_path / "run"
    folder.mkdir()
    save_config(CONFIG, folder / CONFIG_FILE)
    return folder


def test_a_run_begins_where_nothing_is(tmp_path: Path) -> None:
    check_folder(CONFIG, tmp_path / "new", resume=False)
    check_folder(CONFIG, tmp_path, resume=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_written_over(run: Path) -> None:
    with pytest.raises(FileExistsError, match=re.escape(f"{run} exists already. Give another --out, or --resume to")):
        check_folder(CONFIG, run, resume=False)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(FileExistsError, match=r"out is a file, not a folder. Give another --out."):
        check_folder(CONFIG, tmp_path / "out", resume=True)


def test_a_run_goes_on_with_its_own_settings(run: Path) -> None:
    check_folder(CONFIG, run, resume=True)


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("training.epochs", "training.epochs: 30 in the run, 31 now"),
        ("data.padding", "data.padding: 0 in the run, 31 now"),
        ("model.arguments.width", "model.arguments.width: 32 in the run, 31 now"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(run: Path, flag: str, sentence: str) -> None:
    changed = make_config("digits", {flag: 31})
    with pytest.raises(
        ValueError,
        match=re.escape(
            f"cannot resume {run} with other settings: {sentence}. Leave them as they were, or begin a new run with "
            "another --out."
        ),
    ):
        check_folder(changed, run, resume=True)


def test_settings_that_change_no_number_may_change(run: Path) -> None:
    changes = {"training.checkpoint_every": 7, "training.tensorboard": True, "data.cache": False}
    check_folder(make_config("digits", changes), run, resume=True)


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no run to resume at {tmp_path / 'none'}.")):
        check_folder(CONFIG, tmp_path / "none", resume=True)
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"is no run folder to resume: it has no config.yaml."):
        check_folder(CONFIG, tmp_path, resume=True)


def test_a_run_killed_before_its_first_file_can_be_begun_and_resumed(tmp_path: Path) -> None:
    (tmp_path / f".{CONFIG_FILE}.partial").write_text("recipe: dig")
    check_folder(CONFIG, tmp_path, resume=False)
    check_folder(CONFIG, tmp_path, resume=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind")
def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from hypersphere.training.folder import claimed\n"
        "with claimed(Path(sys.argv[1])): print('claimed', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(BlockingIOError, match=re.escape(f"another process is training in {tmp_path}.")):
            claimed(tmp_path).__enter__()
        other.kill()
        other.wait()
        # a killed process holds nothing
        with claimed(tmp_path):
            pass


def test_the_files_of_a_result_lie_in_the_folder_of_results() -> None:
    assert result_stem("classification", "hub:owner/name", "test") == "classification-hub_owner_name-test"
    assert result_stem("verification", "agedb_30") == "verification-agedb_30"
    assert result_stem("identification", "../Zoë 2.0", "test") == "identification-.._Zoë_2.0-test"
