# SPDX-License-Identifier: MIT
"""What layers met: counts against plain loops and the density of random directions, and a model left as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hypersphere.analysis.operators import (
    COSINE_EDGES,
    NORM_EDGES,
    Moments,
    cosine_chance,
    learned_values,
    measure_operators,
    write_operators,
)
from hypersphere.formulas.angles import Sigmoid
from hypersphere.formulas.magnitudes import Ball
from hypersphere.nn import DecoupledConv2d, DecoupledLinear, SphereConv2d


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [2, 3, 4, 27, 1152])
def test_chance_is_the_density_of_random_directions(dim: int) -> None:
    shares, size = cosine_chance(dim)
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(shares, shares[::-1], atol=1e-9)
    # the density in the cosine itself, on a grid of its own
    c = (np.arange(4_010_000) + 0.5) / 2_005_000 - 1
    density = (1 - c**2) ** ((dim - 3) / 2)
    density /= density.sum()
    # in two dimensions it is infinite at the ends, and a sum misses some of that
    wrong = 1e-3 if dim == 2 else 1e-6
    np.testing.assert_allclose(density.reshape(401, -1).sum(axis=1), shares, atol=wrong)
    assert (np.abs(c) * density).sum() == pytest.approx(size, abs=wrong)


def test_chance_in_one_dimension_is_a_sign() -> None:
    shares, size = cosine_chance(1)
    assert (shares[0], shares[-1], shares[1:-1].sum()) == (0.5, 0.5, 0.0)
    assert size == pytest.approx(1)


def test_random_directions_are_found_as_such() -> None:
    # Kolmogorov and Smirnov: beyond 1.95 / sqrt(n) once in a thousand draws
    count = 100_000
    model = nn.Linear(12, 1)
    found = measure_operators(model, normal(count, 12).split(20_000))[""]
    assert found.cosine.count == count
    apart = np.abs(np.cumsum(found.cosines) / count - np.cumsum(cosine_chance(12)[0])).max()
    assert apart < 1.95 / count**0.5
    assert found.cosine.mean == pytest.approx(0, abs=4 / (12 * count) ** 0.5)
    assert found.cosine.std == pytest.approx(12**-0.5, rel=0.01)
    assert found.cosine.mean_size == pytest.approx(cosine_chance(12)[1], rel=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "padding": 2, "groups": 2},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": (1, 2), "padding_mode": "circular", "stride": (2, 1)},
    ],
)
@pytest.mark.parametrize("decoupled", [False, True])
def test_counts_are_those_of_a_loop(options: dict[str, object], decoupled: bool) -> None:
    torch.manual_seed(0)
    layer = (SphereConv2d if decoupled else nn.Conv2d)(4, 6, 3, bias=False, **options)  # type: ignore[arg-type]
    images = normal(3, 4, 7, 8)
    images[0, :, :4] = 0
    found = measure_operators(layer, images.split(2))[""]
    layer = layer.double()
    # every patch by itself: a kernel that picks one number out of each
    groups, dim = layer.groups, layer.weight[0].numel()
    pick = nn.Conv2d(4, dim * groups, 3, bias=False, dtype=torch.float64, **options)  # type: ignore[arg-type]
    pick.weight.data = torch.eye(dim, dtype=torch.float64).repeat(groups, 1).view_as(pick.weight)
    patches = pick(images.double()).detach().flatten(2).transpose(1, 2).reshape(-1, groups, dim)
    kernels = layer.weight.detach().flatten(1).view(groups, -1, dim)
    eps = 1e-4 if decoupled else 0.0
    products = torch.einsum("ngd,god->ngo", patches, kernels)
    lengths = patches.square().sum(-1)
    has_direction = lengths > 0
    roots = (lengths + eps).sqrt()[..., None] * (kernels.square().sum(-1) + eps).sqrt()
    cosines = (products / roots)[has_direction].flatten().detach().numpy()
    norms = lengths.sqrt()[has_direction].numpy()
    assert found.num_zero == int((~has_direction).sum())
    assert found.num_zero > 0 or "padding_mode" in options
    assert found.cosine.count == len(cosines) == found.cosines.sum()
    # a value next to an edge may fall to its other side in float32
    assert np.abs(found.cosines - np.histogram(cosines, COSINE_EDGES)[0]).sum() <= 4
    assert np.abs(found.norms - np.histogram(norms, NORM_EDGES)[0]).sum() <= 4
    assert found.norm.count == found.norms.sum() + found.num_zero
    for moments, values in ((found.cosine, cosines), (found.norm, lengths.sqrt().flatten().numpy())):
        expected = (values.mean(), values.std(), np.abs(values).mean())
        assert (moments.mean, moments.std, moments.mean_size) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    output = layer(images.double()).detach()
    assert found.output.mean == pytest.approx(float(output.mean()), abs=1e-5)
    assert found.output.std == pytest.approx(float(output.std(correction=0)), rel=1e-4)
    assert (found.num_kernels, found.dim, found.eps) == (6, dim, eps)


def test_a_layer_used_twice_adds_up_and_one_that_is_not_used_is_left_out() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(input=self.used(x))  # type: ignore[no-any-return]

    found = measure_operators(Twice(), [normal(5, 2, 3)])
    assert list(found) == ["used"]
    assert found["used"].norm.count == 20


def test_a_model_is_afterwards_as_before() -> None:
    model = nn.Sequential(SphereConv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), DecoupledConv2d(2, 2, 3))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure_operators(model, [normal(4, 1, 8, 8)])

    def untouched() -> bool:
        hooks = [module._forward_hooks for module in model.modules()]
        modes = [module.training for module in model.modules()]
        return not any(hooks) and modes == [True, True, False, True, True]

    assert untouched()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match="expected input"):
        measure_operators(model, [normal(4, 3, 8, 8)])
    assert untouched()


def test_images_of_zeros() -> None:
    found = measure_operators(SphereConv2d(1, 2, 3), [torch.zeros(2, 1, 5, 5)])[""]
    assert (found.num_zero, found.norm.count, found.cosine.count) == (18, 18, 0)
    assert not found.cosines.any()
    assert not found.norms.any()
    assert math.isnan(found.cosine.std)
    assert math.isnan(found.cosine.mean_size)
    assert (found.norm.mean, found.norm.std) == (0, 0)


def test_what_is_not_finite_is_left_out() -> None:
    vectors = normal(6, 3)
    vectors[0, 0], vectors[1, 1] = math.nan, math.inf
    found = measure_operators(nn.Linear(3, 2), [vectors])[""]
    assert found.norm.count == 4
    assert math.isfinite(found.cosine.mean)
    assert found.cosines.sum() == found.cosine.count >= 8


def test_lengths_beyond_the_bins_count_in_the_outermost() -> None:
    found = measure_operators(nn.Linear(1, 1), [torch.tensor([[1e-7], [1e9], [0.0], [1.0]])])[""]
    assert (found.norms[0], found.norms[-1], found.norms.sum(), found.num_zero) == (1, 1, 3, 1)


def test_autocast_does_not_coarsen_cosines() -> None:
    layer, images = SphereConv2d(3, 4, 3), normal(2, 3, 8, 8)
    plain = measure_operators(layer, [images])[""]

    def forward(batch: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return layer(batch)  # type: ignore[no-any-return]

    found = measure_operators(layer, [images], forward=forward)[""]
    np.testing.assert_array_equal(found.cosines, plain.cosines)


def test_compiled_models_are_measured_too() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3))
    images = normal(2, 1, 8, 8)
    plain = measure_operators(model, [images])
    model.compile(backend="aot_eager")
    model(images)
    found = measure_operators(model, [images])
    assert list(found) == ["0", "2"]
    np.testing.assert_array_equal(found["2"].cosines, plain["2"].cosines)


def test_the_spread_far_below_the_mean_is_exact() -> None:
    values = 10 + 1e-3 * torch.rand(300_000, generator=torch.Generator().manual_seed(0))
    found = Moments()
    for part in values.split(70_000):
        found.add(part)
    exact = values.double()
    assert found.std == pytest.approx(float(exact.std(correction=0)), rel=1e-4)
    found = Moments()
    found.add(torch.tensor([0.0, 0.0, 1.0, 3.0]))
    found.drop_zeros(2)
    assert (found.count, found.mean, found.std, found.mean_size) == (2, 2.0, 1.0, 2.0)


def test_what_was_learned() -> None:
    layer = DecoupledConv2d(1, 3, 3, angle="learned_sigmoid", magnitude="learned_ball", gain=True)
    assert layer.raw_k is not None
    assert layer.raw_radius is not None
    assert layer.running_norm is not None
    layer.raw_k.data = torch.tensor([0.25, -0.45, 0.65])
    layer.running_norm.fill_(2.5)
    found = measure_operators(layer, [normal(1, 1, 4, 4)])[""]
    assert found.values["k"] == pytest.approx([0.3, 0.5, 0.7])
    assert found.starts == {"k": 0.75, "radius": 1.0, "gain": 1.0}
    assert (found.angle, found.magnitude, found.unit) == ("learned_sigmoid", "learned_ball", 2.5)
    row = learned_values(nn.Sequential(layer, nn.Linear(3, 1)))["0"]
    assert row["k_mean"] == pytest.approx(0.5)
    assert row["k_std"] == pytest.approx((0.08 / 3) ** 0.5)
    assert row["gain_mean"] == 1.0
    power = DecoupledLinear(2, 3, magnitude="power")
    assert learned_values(power) == {"": {"exponent_mean": 0.0}}
    assert learned_values(SphereConv2d(1, 2, 3)) == {}


def test_specifications_are_written_as_plain_values() -> None:
    class Mine(Ball):
        pass

    layer = DecoupledConv2d(1, 2, 3, angle=Sigmoid(k=0.5), magnitude=Mine())
    found = measure_operators(layer, [normal(1, 1, 4, 4)])[""]
    assert found.angle == {"name": "sigmoid", "k": 0.5, "learnable": False}
    assert found.magnitude.endswith("Mine(alpha=1.0, radius=1.0, relative=True, learnable=False, momentum=0.01)")


def test_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(SphereConv2d(1, 2, 3, angle="learned_sigmoid"), nn.Conv2d(2, 2, 3))
    found = measure_operators(model, [torch.zeros(2, 1, 6, 6)])
    summary = write_operators(tmp_path, found, num_samples=2, split="test", step=7)
    text = (tmp_path / "evaluation" / "operators.json").read_text()
    assert json.loads(text) == summary
    assert "NaN" not in text
    first, second = summary["layers"]
    assert first["learned"] == {"k": {"start": 0.75, "mean": 0.75, "std": 0.0}}
    assert first["cosine"] == {"mean": None, "std": None, "mean_size": None}
    assert (second["angle"], second["eps"], second["learned"]) == (None, 0.0, {})
    with np.load(tmp_path / "evaluation" / "operators.npz") as stored:
        assert stored["cosines"].shape == (2, 401)
        assert stored["norms"].shape == (2, 400)
        np.testing.assert_allclose(stored["0.k"], [0.75, 0.75])
