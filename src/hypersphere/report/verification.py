# SPDX-License-Identifier: MIT
"""The chapter on verification: how often two images are rightly told to show one person, and at which threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hypersphere.report.found import Found, accept_rates
from hypersphere.report.page import Block, Figure, Grid, Missing, Section, Table
from hypersphere.report.run import number
from hypersphere.report.theme import EVALUATION, QUIET, REFERENCE, RUNS, TRAIN, Spec, axis, label, spec

__all__ = [
    "RESPONSIBLE",
    "accuracy_words",
    "read_verification",
    "roc_figure",
    "score_figure",
    "verification_blocks",
    "verification_sections",
]

RESPONSIBLE = (
    "Pictures of faces, such as the news photographs of LFW, show real people. How often a network errs differs "
    "between groups of people, and this page does not measure that; nothing here is fit for decisions about people."
)
"""What stands beside figures on people."""

_LEAD = (
    "Whether two images show one person: their features are compared, and a pair is accepted where they are more alike "
    "than a threshold that was chosen on other pairs."
)
_OWN = ("verification", "verification-common")
_MOST_POINTS = 1500


def verification_sections(runs: Sequence[tuple[str, Sequence[Found], str]]) -> list[Section]:
    """The chapter of one run or several, each with its name and colour; none where no pairs were verified."""
    known = [(name, results, color) for name, results, color in runs if results]
    if not known:
        return []
    blocks = verification_blocks(known[0][1]) if len(runs) == 1 else _blocks_of_runs(known)
    left_out = ", ".join(f"`{name}`" for name, results, _ in runs if not results)
    if left_out:
        blocks.append(Missing(f"Not verified: {left_out}. `hypersphere evaluate RUN --protocol verification` does it."))
    return [Section("verification", "Verification", f"{_LEAD} {RESPONSIBLE}", blocks)]


def read_verification(results: Sequence[Found]) -> list[str]:
    """The sentence at the top of a page: how many pairs are told right by the rule with the plain file name."""
    own = next((found for found in results if found.stem in _OWN), None)
    if own is None or not math.isfinite(number(own.summary, "accuracy")):
        return []
    told = (
        f"Of {number(own.summary, 'num_pairs'):.0f} pairs of images it tells {accuracy_words(own)} right, whether they "
        f"show one person or two ({_rule(own)}, {own.summary.get('split', '')})."
    )
    return [f"{told} {own.note}".rstrip()]


def accuracy_words(found: Found) -> str:
    """Accuracy with its spread over the folds.

    Example:
        >>> print(accuracy_words(Found("verification", {"accuracy": 0.9912, "spread": 0.0031})))
        99.12% ± 0.31%
    """
    accuracy, spread = number(found.summary, "accuracy"), number(found.summary, "spread")
    if not math.isfinite(accuracy):
        return "–"
    return f"{accuracy:.2%}" + (f"\u00a0±\u00a0{spread:.2%}" if math.isfinite(spread) else "")


def verification_blocks(results: Sequence[Found]) -> list[Block]:
    """Tables, curve and scores of one run."""
    named = [(_pairs(found), _rule(found)) for found in results]
    rows = [
        [
            *name,
            accuracy_words(found),
            _threshold_words(found),
            _share(number(found.summary, "equal_error_rate")),
            _area_words(found),
        ]
        for name, found in zip(named, results, strict=True)
    ]
    head = ("pairs", "rule", "accuracy", "threshold", "equal error rate", "area under the ROC")
    table = Table("One person or two", head, rows, _caption(results, thresholds=True), num_names=2)
    blocks: list[Block] = [
        table,
        *_accept_block([(list(name), one) for name, one in zip(named, results, strict=True)], 2),
    ]
    one_list = len({pairs for pairs, _ in named}) == 1
    curves = [
        (_variant(found) if one_list else f"{_variant(found)}, {pairs}".replace("`", ""), found, color)
        for (pairs, _), found, color in zip(named, results, RUNS, strict=False)
    ]
    figures = [Figure("True and false accepts", roc_figure(curves), _roc_caption([found for _, found, _ in curves]))]
    own = [found for found in results if found.stem in _OWN] or results[:1]
    figures += [Figure(f"Scores by {_rule(found)}", score_figure(found), _score_caption(found)) for found in own]
    drawn = [figure for figure in figures if figure.spec["data"]]
    blocks.append(Grid(drawn, size="large") if drawn else Missing("The scores of the pairs were not kept."))
    return blocks


def roc_figure(curves: Sequence[tuple[str, Found, str]]) -> Spec:
    """True accepts over false ones, the latter on a logarithmic axis.

    Args:
        curves: name, result and colour; results without a curve are left out.
    """
    data: list[Spec] = []
    lowest = 1.0
    for name, found, color in curves:
        far, tar = found.column("roc_far"), found.column("roc_tar")
        if len(far) != len(tar) or not len(far) or not (far > 0).any():
            continue
        edge = _smallest_rate(found, far)
        lowest = min(lowest, edge)
        # a logarithm has no zero: what is accepted without a false one reaches to the left edge
        first = tar[far <= 0].max(initial=0.0)
        x, y = np.append(edge, far[far > 0]), np.append(first, tar[far > 0])
        if len(x) > _MOST_POINTS:
            wanted = np.geomspace(x[0], x[-1], _MOST_POINTS)
            kept = np.unique(np.concatenate([[0], np.searchsorted(x, wanted).clip(max=len(x) - 1)]))
            x, y = x[kept], y[kept]
        line = {"color": color, "width": 2}
        text = f"%{{y:.2%}} at %{{x:.2%}}<extra>{label(name)}</extra>"
        trace: Spec = {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": label(name), "line": line}
        data.append(trace | {"hovertemplate": text})
    if data:
        chance = np.geomspace(lowest, 1.0, 60)
        line = {"color": QUIET, "width": 1, "dash": "dot"}
        data.append(
            {"type": "scatter", "mode": "lines", "x": chance, "y": chance, "name": "by chance", "line": line}
            | {"hoverinfo": "skip"}
        )
    horizontal = axis("false accepts (share of pairs of two people)") | {"type": "log", "tickformat": "~g", "dtick": 1}
    vertical = axis("true accepts (share of pairs of one person)") | {"tickformat": ".0%", "range": [0, 1.02]}
    return spec(data, height=380, xaxis=horizontal, yaxis=vertical)


def score_figure(found: Found) -> Spec:
    """Histograms of the scores of both kinds of pairs, and the mean threshold."""
    scores, same = found.column("scores"), found.column("same") > 0
    if len(scores) != len(same) or not len(scores) or not np.isfinite(scores).all():
        return spec([])
    low, high = float(scores.min()), float(scores.max())
    room = 0.02 * (high - low) or 0.01
    fewest = max(1, min(int(same.sum()), int((~same).sum())))
    edges = np.linspace(low - room, high + room, int(min(80, max(12, 3 * fewest**0.5))) + 1)
    data: list[Spec] = []
    for name, part, color in (("one person", same, TRAIN), ("two people", ~same, EVALUATION)):
        if part.any():
            share = np.histogram(scores[part], edges)[0] / part.sum()
            data.append(
                {"type": "bar", "x": (edges[:-1] + edges[1:]) / 2, "y": share, "width": edges[1] - edges[0]}
                | {"name": name, "marker": {"color": color}, "opacity": 0.65}
                | {"hovertemplate": f"%{{x:.3f}}: %{{y:.1%}}<extra>{name}</extra>"}
            )
    threshold = _threshold(found)
    if math.isfinite(threshold):
        top = max(float(trace["y"].max()) for trace in data)
        line = {"color": REFERENCE, "dash": "dash", "width": 1.5}
        data.append(
            {"type": "scatter", "mode": "lines", "x": [threshold] * 2, "y": [0, top], "line": line}
            | {"name": f"threshold {threshold:.3f}".replace("-", "−")}
        )
    title = str(found.summary.get("score", "score"))
    vertical = axis("share of pairs of a kind", tickformat=".0%")
    return spec(data, height=380, barmode="overlay", bargap=0, xaxis=axis(title), yaxis=vertical)


def _blocks_of_runs(runs: Sequence[tuple[str, Sequence[Found], str]]) -> list[Block]:
    """The same figures side by side, for results on the same pairs by the same rule."""
    by_key: dict[tuple[str, ...], dict[str, tuple[Found, str]]] = {}
    for name, results, color in runs:
        for found in results:
            key = (_pairs(found), _rule(found), f"{number(found.summary, 'num_pairs'):.0f} pairs")
            by_key.setdefault(key, {})[name] = (found, color)
    rows, accepted = [], []
    for (pairs, rule, count), members in by_key.items():
        for what, words in _WHAT.items():
            cells = [words(members[name][0]) if name in members else "–" for name, *_ in runs]
            rows.append([f"{pairs}, {count}", rule, what, *cells])
        accepted += [([f"`{name}`", pairs, rule], found) for name, (found, _) in members.items()]
    head = ("pairs", "rule", "", *(f"`{name}`" for name, *_ in runs))
    every = [found for _, results, _ in runs for found in results]
    table = Table("One person or two", head, rows, _caption(every), num_names=3)
    figures = []
    shared = {key: members for key, members in by_key.items() if len(members) > 1} or by_key
    for (pairs, rule, _), members in shared.items():
        drawn = roc_figure([(name, found, color) for name, (found, color) in members.items()])
        if drawn["data"]:
            caption = _roc_caption([found for found, _ in members.values()])
            figures.append(Figure(f"True and false accepts: {pairs}, {rule}", drawn, caption))
    grid: list[Block] = [Grid(figures, size="large")] if figures else []
    return [table, *_accept_block(accepted, 3), *grid]


def _accept_block(results: Sequence[tuple[Sequence[str], Found]], num_names: int) -> list[Block]:
    titles, rows, told = accept_rates([(begin, found.entries("tar_at_far")) for begin, found in results])
    if not titles:
        return []
    names = ("pairs", "rule") if num_names == 2 else ("run", "pairs", "rule")
    return [Table("True accepts at a rate of false ones", (*names, *titles), rows, told, num_names=num_names)]


def _pairs(found: Found) -> str:
    """Which pairs, in short."""
    name, split = found.summary.get("pairs"), str(found.summary.get("split", ""))
    return f"`{name}`, {split}" if name else split or "pairs"


def _rule(found: Found) -> str:
    return f"`{_variant(found)}`"


def _variant(found: Found) -> str:
    return str(found.summary.get("variant", "unknown rule"))


def _thresholds(found: Found) -> np.ndarray:
    listed = found.summary.get("thresholds")
    values = [number({"value": value}, "value") for value in listed] if isinstance(listed, list) else []
    return np.array([value for value in values if math.isfinite(value)])


def _threshold(found: Found) -> float:
    values = _thresholds(found)
    return float(values.mean()) if len(values) else math.nan


def _threshold_words(found: Found) -> str:
    values = _thresholds(found)
    if not len(values):
        return "–"
    spread = f" ({values.min():.3f} to {values.max():.3f})" if values.min() < values.max() else ""
    return f"{values.mean():.3f}{spread}".replace("-", "−")


def _area_words(found: Found) -> str:
    area, low, high = (
        number(found.summary, *path) for path in (("area",), ("area_interval", "low"), ("area_interval", "high"))
    )
    if not math.isfinite(area):
        return "–"
    return f"{area:.4f}" + (f" ({low:.4f} to {high:.4f})" if math.isfinite(low + high) else "")


_WHAT = {
    "accuracy": accuracy_words,
    "equal error rate": lambda found: _share(number(found.summary, "equal_error_rate")),
    "area under the ROC": _area_words,
}


def _caption(results: Sequence[Found], *, thresholds: bool = False) -> str:
    """What the columns mean, rule by rule."""
    counts = {
        f"{number(one.summary, 'num_pairs'):.0f} pairs, {number(one.summary, 'num_same'):.0f} of one person"
        for one in results
    }
    parts = [f"{counts.pop()}." if len(counts) == 1 else ""]
    for rule in dict.fromkeys(map(_rule, results)):
        one = next(found for found in results if _rule(found) == rule)
        parts.append(f"{rule}: {one.summary.get('description', 'unknown')}.")
    if any(math.isfinite(number(one.summary, "spread")) for one in results):
        parts.append("After ±, the spread over the folds as the rule has it.")
    if thresholds:
        parts.append("Thresholds are in the unit of the score, chosen on the other folds; in brackets, their range.")
    methods = {
        str(one.summary["area_interval"].get("method"))
        for one in results
        if isinstance(one.summary.get("area_interval"), dict)
    }
    if methods:
        parts.append(f"The area has an interval of 95% ({', '.join(sorted(methods))}).")
    cosines = {f"{number(one.summary, 'decision', 'cosine'):.3f}" for one in results}
    if len(cosines) == 1 and cosines != {"nan"}:
        parts.append(f"Single pairs are judged by a cosine of {cosines.pop()}.")
    zero = sum(number(one.summary, "num_zero") > 0 for one in results)
    if zero:
        parts.append("Some features are zero; their cosine with everything counts as 0.")
    parts += list(dict.fromkeys(one.note for one in results))
    return " ".join(part for part in parts if part)


def _smallest_rate(found: Found, far: np.ndarray) -> float:
    """Half of what one false accept is."""
    impostors = number(found.summary, "num_pairs") - number(found.summary, "num_same")
    return 0.5 / impostors if impostors >= 1 else 0.5 * float(far[far > 0].min())


def _roc_caption(results: Sequence[Found]) -> str:
    counts = {number(one.summary, "num_pairs") - number(one.summary, "num_same") for one in results}
    counts = {count for count in counts if count >= 1}
    told = "All reported pairs together, at every threshold; the left end matters where a false accept is costly."
    if len(counts) == 1:
        count = counts.pop()
        told += f" One of {count:.0f} false pairs is a share of {1 / count:.2g}: what lies left of it rests on none."
    return told


def _score_caption(found: Found) -> str:
    scores, same = found.column("scores"), found.column("same") > 0
    if len(scores) != len(same) or not same.any() or same.all():
        return ""
    right = found.column("correct")
    wrong = f" {int((right == 0).sum())} of {len(right)} pairs are told wrong." if len(right) == len(scores) else ""
    return (
        f"Each kind adds up to 100%. Medians: {np.median(scores[same]):.3f} for one person, "
        f"{np.median(scores[~same]):.3f} for two. Where the shapes overlap, no threshold tells them apart."
    ).replace("-", "−") + wrong


def _share(value: float) -> str:
    return f"{value:.2%}" if math.isfinite(value) else "–"
