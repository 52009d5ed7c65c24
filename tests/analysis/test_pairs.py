# SPDX-License-Identifier: MIT
"""One pass over all pairs against the whole K×K matrix; twins, opposites and clusters that were put there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hypersphere.analysis import pairs
from hypersphere.analysis.pairs import measure_pairs
from hypersphere.formulas.energies import PairPotential, Riesz
from hypersphere.functional import hyperspherical_energy, pairwise_angle


def planted(num_neurons: int = 90, dim: int = 12, *, seed: int = 0) -> torch.Tensor:
    """Random rows with a triple of twins 3, 5, 9 and an opposite 7 of the first."""
    weight = torch.randn(num_neurons, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight[5], weight[7], weight[9] = 2 * weight[3], -weight[3], weight[3] + 0.01 * weight[4]
    return weight


def angles(weight: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.triu_indices(len(weight), len(weight), 1)
    return pairwise_angle(weight)[rows, columns]


@pytest.mark.parametrize("block", [7, 32, 1024])
@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize(("power", "distance"), [(0.0, "euclidean"), (2.0, "angular"), (6.0, "euclidean")])
def test_against_the_whole_matrix(
    monkeypatch: pytest.MonkeyPatch, block: int, half_space: bool, power: float, distance: str
) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", block)
    weight = planted()
    found = measure_pairs(
        weight, PairPotential(Riesz(power), distance), half_space=half_space, near_angle=math.radians(30)
    )
    expected = hyperspherical_energy(weight, power=power, distance=distance, half_space=half_space)
    assert found.energy == pytest.approx(float(expected), rel=1e-12)
    every = angles(weight)
    assert found.near_duplicates == int((every < math.radians(30)).sum())
    assert found.near_antipodes == int((every > math.radians(150)).sum())
    assert found.angle_counts.tolist() == torch.histc(every, 360, 0, math.pi).tolist()
    assert found.is_exact
    lines = torch.minimum(every, math.pi - every) if half_space else every
    closest = [min(pair.angle, math.pi - pair.angle) if half_space else pair.angle for pair in found.closest]
    assert closest == pytest.approx(lines.sort()[0][:10].tolist(), abs=1e-7)
    assert found.smallest_angle == closest[0]


@pytest.mark.parametrize("half_space", [False, True])
def test_twins_and_their_cluster(half_space: bool) -> None:
    found = measure_pairs(planted().float(), PairPotential(Riesz(0.0)), half_space=half_space)
    assert found.clusters == [[3, 5, 7, 9] if half_space else [3, 5, 9]]
    assert [(pair.first, pair.second) for pair in found.closest[:3]] == (
        [(3, 5), (3, 7), (5, 7)] if half_space else [(3, 5), (3, 9), (5, 9)]
    )
    # the same row twice over: exact in float64, where a float32 cosine would be off by 3e-4
    assert found.closest[0].angle == 0.0
    assert (found.near_duplicates, found.near_antipodes) == (3, 3)


def test_clusters_hang_together_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", 4)
    # a fan of directions 6 degrees apart: only neighbours are near, and all hang together; the second fan apart
    turn = torch.deg2rad(torch.cat([6.0 * torch.arange(11), 150 + 6.0 * torch.arange(3)]))[torch.randperm(14)]
    weight = torch.stack([turn.cos(), turn.sin()], dim=1)
    found = measure_pairs(weight, PairPotential(Riesz(0.0)))
    assert [len(cluster) for cluster in found.clusters] == [11, 3]
    assert found.clusters[1] == (turn > 2).nonzero().ravel().tolist()
    assert found.near_duplicates == 10 + 2


def test_a_collapsed_layer() -> None:
    found = measure_pairs(torch.ones(50, 3), PairPotential(Riesz(0.0)))
    assert found.clusters == [list(range(50))]
    assert found.near_duplicates == 50 * 49 // 2
    assert {pair.angle for pair in found.closest} == {0.0}


def test_a_sample_is_fair_and_says_so() -> None:
    weight = torch.randn(1500, 6, generator=torch.Generator().manual_seed(0))
    potential = PairPotential(Riesz(1.0))
    every = measure_pairs(weight, potential, near_angle=0.3)
    some = measure_pairs(weight, potential, near_angle=0.3, max_pairs=300_000)
    assert every.is_exact
    assert not some.is_exact
    # a quarter of 1.1 million pairs: the standard error of the mean is about a thousandth
    assert some.energy == pytest.approx(every.energy, rel=5e-3)
    assert some.near_duplicates == pytest.approx(every.near_duplicates, rel=0.1)
    assert np.abs(some.angle_counts - every.angle_counts).sum() < 0.1 * every.angle_counts.sum()
    # what it names is there
    first = some.closest[0]
    assert pairwise_angle(weight[[first.first]], weight[[first.second]]).item() == pytest.approx(first.angle, abs=1e-6)


@pytest.mark.parametrize(("num_neurons", "max_pairs"), [(10, 45), (10, 44), (10, 9), (10, 1), (100_000, 2**28)])
def test_a_sample_keeps_to_its_number(num_neurons: int, max_pairs: int) -> None:
    rows = pairs._rows_within(num_neurons, max_pairs)
    looked_at = rows * (2 * num_neurons - rows - 1) // 2
    assert looked_at <= max_pairs or rows == 1
    more = (rows + 1) * (2 * num_neurons - rows - 2) // 2
    assert more > max_pairs or rows == num_neurons
