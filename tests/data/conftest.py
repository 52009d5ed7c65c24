# SPDX-License-Identifier: MIT
"""No test of the data room reads or leaves anything outside its own folder, or asks the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypersphere.data import load


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every cache in a folder of this test; returns that of decoded images."""
    import huggingface_hub

    load._say_once.cache_clear()
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HYPERSPHERE_CACHE", str(folder / "decoded"))
    monkeypatch.delenv("HYPERSPHERE_DATA", raising=False)

    def no_network(*args: object, **kwargs: object) -> str:
        raise AssertionError("a test asked the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    return folder / "decoded"
