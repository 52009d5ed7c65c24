# SPDX-License-Identifier: MIT
"""What a run recorded of its operators, as read: radii, shares of short patches, and files that are damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hypersphere.analysis.operators import measure_operators, write_operators
from hypersphere.nn import DecoupledConv2d, SphereConv2d
from hypersphere.report.operator_facts import Operators, operator_words, read_operators


def record(folder: Path, *layers: nn.Module) -> Path:
    """Measure layers of three channels on drawn images and leave the result in a folder."""
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[0] = 0
    found = {}
    for place, layer in enumerate(layers):
        for one in measure_operators(layer, [images]).values():
            one.name = f"layer{place}"
            found[one.name] = one
    write_operators(folder, found, num_samples=4, split="test", step=3)
    return folder


def read(folder: Path) -> Operators:
    found, notes = read_operators(folder)
    assert notes == []
    assert found is not None
    return found


def test_layers_as_they_were_measured(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ball = DecoupledConv2d(3, 4, 3, magnitude="learned_ball")
    assert ball.running_norm is not None
    ball.running_norm.fill_(3.0)
    layers = (nn.Conv2d(3, 2, 3), SphereConv2d(3, 2, 3, eps=1e-2), ball, DecoupledConv2d(3, 2, 3, magnitude="tanh"))
    found = read(record(tmp_path, *layers))
    plain, sphere, learned, fixed = found.layers
    assert [one.is_decoupled for one in found.layers] == [False, True, True, True]
    assert (plain.threshold, sphere.threshold, plain.dim) == (0.0, pytest.approx(1.0), 27)
    assert plain.radii.size == sphere.radii.size == 0
    np.testing.assert_allclose(learned.radii, [3.0] * 4, rtol=1e-6)
    np.testing.assert_allclose(fixed.radii, [1.0])
    assert learned.start("radius") == 1.0
    assert math.isnan(plain.start("radius"))
    # a quarter of the images is empty; the others' patches are about sqrt(27) long
    assert sphere.shorter(found.norm_edges, 1e-3) == pytest.approx(0.25)
    assert sphere.shorter(found.norm_edges, 100.0) == pytest.approx(1.0)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))[1:]
    lengths = nn.functional.unfold(images, 3).square().sum(1).sqrt()
    exact = 0.25 + 0.75 * float((lengths < 5).float().mean())
    assert sphere.shorter(found.norm_edges, 5.0) == pytest.approx(exact, abs=0.03)
    assert sphere.shorter(found.norm_edges, 0.0) == 0.0


def test_operators_in_words() -> None:
    assert operator_words({"angle": "cosine", "magnitude": {"name": "ball", "radius": 0.5, "momentum": 0.01}}) == (
        "cosine × ball (radius 0.5)"
    )
    assert operator_words({"angle": "Mine(k=1)", "magnitude": {"name": "sphere"}}) == "Mine(k=1) × sphere"


def test_a_magnitude_of_the_users_own_has_no_radius_to_show(tmp_path: Path) -> None:
    record(tmp_path, DecoupledConv2d(3, 2, 3, magnitude="ball"))
    path = tmp_path / "evaluation" / "operators.json"
    summary = json.loads(path.read_text())
    summary["layers"][0]["magnitude"] = "Mine(radius=1)"
    path.write_text(json.dumps(summary))
    assert read(tmp_path).layers[0].radii.size == 0


def test_nothing_is_wrong_where_nothing_was_measured(tmp_path: Path) -> None:
    assert read_operators(tmp_path) == (None, [])


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("operators.json", b"{", "could not be read"),
        ("operators.json", b"[]", "do not fit together"),
        ("operators.json", b'{"layers": [{"name": 3}]}', "do not fit together"),
        ("operators.npz", b"PK", "could not be read"),
        ("operators.npz", None, "There is no operators.npz"),
    ],
)
def test_damage_becomes_a_sentence(tmp_path: Path, name: str, content: bytes | None, note: str) -> None:
    path = record(tmp_path, nn.Conv2d(3, 2, 3)) / "evaluation" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    found, notes = read_operators(tmp_path)
    assert found is None
    assert len(notes) == 1
    assert note in notes[0]
