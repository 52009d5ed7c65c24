# SPDX-License-Identifier: MIT
"""Point sets on spheres whose energy is known: inner products of the optimal ones, and tabulated minima."""

from __future__ import annotations

import math

__all__ = ["THOMSON", "best_known_sum", "line_angles", "neighbour_angles", "polygon_angles"]

_GOLDEN = (1 + math.sqrt(5)) / 2

# (N, d): inner products from any point to all others, with counts. Universally optimal: they minimise every completely
# monotone kernel of the squared chord, the Riesz kernels of all powers among them (cohn2007universally, table 1)
_UNIVERSAL: dict[tuple[int, int], dict[float, int]] = {
    (12, 3): {-1: 1, 1 / math.sqrt(5): 5, -1 / math.sqrt(5): 5},  # icosahedron
    (16, 5): {-3 / 5: 5, 1 / 5: 10},  # hemicube
    (27, 6): {-1 / 2: 10, 1 / 4: 16},  # Schläfli
    (56, 7): {-1: 1, 1 / 3: 27, -1 / 3: 27},
    (240, 8): {-1: 1, 1 / 2: 56, -1 / 2: 56, 0: 126},  # roots of E8
    (120, 4): {  # 600-cell
        -1: 1,
        _GOLDEN / 2: 12,
        -_GOLDEN / 2: 12,
        1 / 2: 20,
        -1 / 2: 20,
        1 / (2 * _GOLDEN): 12,
        -1 / (2 * _GOLDEN): 12,
        0: 30,
    },
    (196560, 24): {-1: 1, 1 / 2: 4600, -1 / 2: 4600, 1 / 4: 47104, -1 / 4: 47104, 0: 93150},  # Leech
}


def neighbour_angles(num_points: int, dim: int) -> dict[float, int] | None:
    """Angles (with counts) from one point of the proven optimum to the others, for every Riesz power, or None.

    Regular polygons (d = 2), simplices (N <= d + 1), cross-polytopes (N = 2d) and the universally optimal table.
    """
    if num_points <= dim + 1:
        return {math.acos(-1 / (num_points - 1)): num_points - 1}
    if dim == 2:
        return polygon_angles(num_points)
    if num_points == 2 * dim:
        return {math.pi: 1, math.pi / 2: num_points - 2}
    cosines = _UNIVERSAL.get((num_points, dim))
    return None if cosines is None else {math.acos(cosine): count for cosine, count in cosines.items()}


def polygon_angles(num_points: int) -> dict[float, int]:
    """Angles between the corners of the regular N-gon: 2 pi k / N."""
    angles = {math.pi * (2 * index / num_points): 2 for index in range(1, num_points // 2 + 1)}
    if num_points % 2 == 0:
        angles[math.pi] = 1
    return angles


def line_angles(num_lines: int, dim: int) -> dict[float, int] | None:
    """The same for N lines in half space: the 2N points [w, -w] of an antipodal optimum, or None.

    An orthonormal frame for N <= d; an optimum of 2N points that is symmetric about the origin otherwise.
    """
    if num_lines <= dim:
        return {math.pi: 1, math.pi / 2: 2 * num_lines - 2} if num_lines > 1 else {math.pi: 1}
    found = neighbour_angles(2 * num_lines, dim)
    return found if found is not None and math.pi in found else None


# Thomson problem, power 1 on S^2: sums over i < j, N -> energy (wales2006structure); each is reached again by
# optimisation from random starts in tests/functional/test_optima.py, most of them in the slow tests
THOMSON: dict[int, float] = {
    2: 0.500000000, 3: 1.732050808, 4: 3.674234614, 5: 6.474691495, 6: 9.985281374, 7: 14.452977414, 8: 19.675287861,
    9: 25.759986531, 10: 32.716949460, 11: 40.596450508, 12: 49.165253058, 13: 58.853230612, 14: 69.306363297,
    15: 80.670244114, 16: 92.911655303, 17: 106.050404829, 18: 120.084467447, 19: 135.089467557, 20: 150.881568334,
    21: 167.641622399, 22: 185.287536149, 23: 203.930190663, 24: 223.347074052, 25: 243.812760299, 26: 265.133326317,
    27: 287.302615033, 28: 310.491542358, 29: 334.634439920, 30: 359.603945904, 31: 385.530838063, 32: 412.261274651,
    33: 440.204057448, 40: 660.675278835, 48: 968.713455344, 50: 1055.182314726, 60: 1543.830400976,
    64: 1765.802577927, 72: 2255.001190975, 80: 2805.355875981, 100: 4448.350634331,
}  # fmt: skip

# power 0 and 2 on S^2: best of 30 to 60 optimised starts, not proven; the octahedron and icosahedron are
_LOGARITHMIC: dict[int, float] = {
    5: -4.420507155, 7: -8.182477864, 8: -10.428017781, 9: -12.887752726, 10: -15.563123389, 11: -18.420479721,
    13: -24.866721876, 14: -28.407813009, 15: -32.147876284, 16: -36.106152162, 17: -40.273066961, 18: -44.650287259,
    19: -49.199891566, 20: -54.011129975, 24: -75.213984789, 32: -127.378867615, 50: -291.528600658,
}  # fmt: skip
_INVERSE_SQUARE: dict[int, float] = {
    5: 4.25, 7: 10.25, 8: 14.336791084, 9: 19.252868784, 10: 25.041359722, 11: 31.834721637, 13: 47.773308981,
    14: 57.121208598, 15: 67.486184735, 16: 78.772649031, 17: 91.047319314, 18: 104.314685285, 19: 118.825563649,
    20: 133.936978568, 24: 205.658437998, 32: 401.5, 50: 1119.599506532,
}  # fmt: skip

# N lines in R^d, half space: sums over i < j of the 2N points for powers 0, 1, 2; best of many starts
_LINES: dict[tuple[int, int], tuple[float, float, float]] = {
    (4, 3): (-10.383656675, 19.740774074, 14.5),
    (5, 3): (-15.411694052, 32.947956915, 25.632772995),
    (7, 3): (-28.391932336, 69.342378421, 57.25),
    (8, 3): (-35.964154555, 93.200305562, 79.762282379),
    (10, 3): (-53.996212399, 150.907471221, 134.016031534),
    (15, 3): (-113.035316745, 359.735515246, 346.808453300),
    (5, 4): (-16.683294303, 31.479042259, 22.583333333),
    (6, 4): (-23.331724193, 47.204320812, 34.981750516),
    (12, 4): (-86.004454523, 208.337314088, 167.0),
}


def best_known_sum(num_points: int, dim: int, power: float, half_space: bool) -> float | None:
    """Best known sum over i < j where no optimum is proven for all powers (9 decimals), or None."""
    if power not in (0, 1, 2):
        return None
    if half_space:
        found = _LINES.get((num_points, dim))
        return None if found is None else found[int(power)]
    tables = (_LOGARITHMIC, THOMSON, _INVERSE_SQUARE)
    return tables[int(power)].get(num_points) if dim == 3 else None
