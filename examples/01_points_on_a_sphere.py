# SPDX-License-Identifier: MIT
"""Spread points and lines over a sphere until their energy is minimal; hold the result against the known minima."""

import math

import hypersphere as hs

print("points  dim  power   random    reached       known      gap  smallest angle")
for num_points, dim, power in [(4, 3, 1.0), (8, 3, 1.0), (12, 3, 1.0), (24, 3, 1.0), (10, 64, 0.0)]:
    found = hs.thomson(num_points, dim, power=power, starts=1)
    pairs = math.comb(num_points, 2)
    # what independent random directions have on average, as a sum over pairs like the published tables
    random = pairs * hs.functional.expected_energy(dim, power=power)
    known = hs.functional.minimum_energy(num_points, dim, power=power)
    beside = "   unknown" if known is None or found.gap is None else f"{pairs * known:10.4f} {found.gap:8.0e}"
    print(
        f"{num_points:6d} {dim:4d} {power:6.1f} {random:8.2f} {found.sum_over_pairs:10.4f}  {beside}"
        f"  {math.degrees(found.smallest_angle):13.3f}°"
    )
print("\n12 charges make an icosahedron; 8 make a square antiprism, not a cube (70.529°).")

lines = hs.thomson(6, 3, half_space=True, starts=2)
print(f"6 lines through the same centre: {math.degrees(lines.smallest_angle):.3f}°, the axes of that icosahedron.")
flat = hs.thomson(4, 3, power=0.0, distance="angular", starts=2)
print(f"4 points that repel by angle, power 0: {math.degrees(flat.smallest_angle):.3f}°, a square and no tetrahedron.")
