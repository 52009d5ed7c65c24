# SPDX-License-Identifier: MIT
"""Spread points over a sphere by minimising their energy, and hold the result against the known minima."""

import torch

import hypersphere as hs


def spread(num_points: int, dim: int, power: float, seed: int = 0) -> torch.Tensor:
    """Minimise the energy of random points by L-BFGS; rows of any length are fine, only directions count."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(num_points, dim, generator=generator, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=1000, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        energy = hs.functional.hyperspherical_energy(weight, power=power)
        energy.backward()
        return energy

    optimizer.step(closure)
    return hs.functional.normalize(weight.detach())


print("points  dim  power  random    reached     known minimum  smallest angle")
for num_points, dim, power in [(4, 3, 1.0), (8, 3, 1.0), (12, 3, 1.0), (24, 3, 1.0), (16, 5, 2.0), (10, 64, 0.0)]:
    points = spread(num_points, dim, power)
    reached = float(hs.functional.hyperspherical_energy(points, power=power))
    expected = hs.functional.expected_energy(dim, power=power)
    minimum = hs.functional.minimum_energy(num_points, dim, power=power)
    known = "unknown" if minimum is None else f"{minimum:.8f}"
    angle = hs.functional.pairwise_angle(points).fill_diagonal_(4.0).min().rad2deg()
    print(f"{num_points:6d} {dim:4d} {power:6.1f} {expected:7.4f}  {reached:.8f}  {known:>14}  {float(angle):8.3f}°")
