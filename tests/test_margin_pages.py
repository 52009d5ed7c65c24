# SPDX-License-Identifier: MIT
"""What the pages on margins say is so: the numbers of their tables, and losses of the other library by our names."""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from house import ROOT
from hypersphere.formulas.margins import MARGINS, ArcFace, MagFace, SphereFace
from hypersphere.functional import margins
from hypersphere.functional.margins import margin_logits
from hypersphere.functional.scales import smallest_nearest_cosine
from hypersphere.kernels import classes
from hypersphere.nn import MarginHead
from hypersphere.nn.schedules import LambdaAnnealing

PAGE = (ROOT / "docs" / "margins.md").read_text()
OTHER = (ROOT / "docs" / "coming-from.md").read_text()


def table(page: str, title: str) -> list[list[str]]:
    """The rows of the table whose first line holds a title, cells without their marks of code."""
    lines = page[page.index(title) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def target(name: str) -> tuple[Tensor, Tensor]:
    """The own logit over the scale at 0 and 180 degrees, and its slope, features of length 20."""
    margin = MARGINS[name]
    state = {key: torch.tensor(start, dtype=torch.float64) for key, start in margin.initial_state().items()}
    cosine = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    # l_softmax and softmax have it in units of the lengths
    found = margin.target(cosine, torch.full_like(cosine, 20.0).detach(), state)
    slope = torch.ones(2) if found is cosine else torch.autograd.grad(found.sum(), cosine)[0]
    return found.detach(), slope


def test_the_formulas_are_those_of_all_margins() -> None:
    assert [row[0].strip("` ") for row in table(PAGE, "| name | own class")] == list(MARGINS)


def test_the_ends_of_all_margins() -> None:
    rows = {row[0].strip("` "): row[1:] for row in table(PAGE, "| name | scale | at 0°")}
    assert list(rows) == list(MARGINS)
    for name, (scale, *numbers, near) in rows.items():
        margin = MARGINS[name]
        expected = "none" if not margin.normalized else str(margin.default_scale).removesuffix(".0")
        assert scale == expected, name
        found = [float(value) for value in torch.cat(target(name))]
        assert [float(number) for number in numbers] == pytest.approx(found, abs=5.01e-4), name
        # a millionth of a radian from either end
        cosine = torch.tensor([1e-6, math.pi - 1e-6], dtype=torch.float64).cos().requires_grad_()
        state = {key: torch.tensor(start, dtype=torch.float64) for key, start in margin.initial_state().items()}
        value = margin.target(cosine, torch.full_like(cosine, 20.0).detach(), state)
        slopes = torch.ones(2) if value is cosine else torch.autograd.grad(value.sum(), cosine)[0]
        assert ("grows" in near) == bool((slopes > 1e4).any()), name


def arcface(beyond_pi: str, *degrees: float) -> list[float]:
    cosine = torch.tensor(degrees, dtype=torch.float64).deg2rad().cos()
    return ArcFace(0.5, beyond_pi=beyond_pi).target(cosine, torch.ones_like(cosine), {}).tolist()


def test_what_becomes_of_an_angle_past_180_degrees() -> None:
    edge = 180 - math.degrees(0.5)
    before, after = arcface("guard", edge - 1e-7, edge + 1e-7)
    assert after - before == pytest.approx(-0.117, abs=5e-4)
    assert arcface("cosine", 180.0)[0] == pytest.approx(-0.878, abs=5e-4)
    assert arcface("clamp", 180.0)[0] == -1
    assert arcface("continue", 180.0)[0] == pytest.approx(-1.122, abs=5e-4)
    # where the easy margin gives up
    assert 0 - arcface("continue", 90.0)[0] == pytest.approx(0.479, abs=5e-4)
    for number in ("−0.117", "−0.878", "−1.122", "0.479"):
        assert number in PAGE


def test_the_least_penalty_of_magface() -> None:
    m = MagFace()
    slope = (m.largest_angle - m.smallest_angle) / (m.longest - m.shortest)
    least = 64 * slope * (m.longest * m.shortest) ** 2 / (m.longest**2 - m.shortest**2)
    assert least == pytest.approx(22.6, abs=0.05)
    assert m.penalty_weight == 35


def test_the_margin_of_a_published_sphereface() -> None:
    annealing = LambdaAnnealing(MarginHead(4, 3, margin="sphereface"))
    assert annealing.value(1658) > 5 == annealing.value(1659) == annealing.value(28000)
    assert round(100 * (28000 - 1659) / 28000) == 94
    x, w = torch.tensor([[-0.6, 0.8]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    logits = margin_logits(x, w, torch.tensor([0]), margin=SphereFace(4), annealing=5.0)
    angle = math.acos(-0.6)
    psi = (-1) ** math.floor(4 * angle / math.pi) * math.cos(4 * angle) - 2 * math.floor(4 * angle / math.pi)
    assert logits[0, 0].item() == pytest.approx((5 * math.cos(angle) + psi) / 6, abs=1e-12)


def test_sizes() -> None:
    assert classes._CHUNK == {"cpu": 2**18}
    assert classes._DEVICE_CHUNK == classes._KEPT == 2**25
    assert margins._LARGEST_PLAIN == 2**16
    logits = torch.empty(1_000_000, 256, device="meta")
    assert round(logits.numel() * logits.element_size() / 1e9, 2) == 1.02
    # the step of float16 below 1
    step = torch.finfo(torch.float16).eps / 2
    assert step == 2**-11
    assert round(64 * step, 2) == 0.03


def test_short_class_vectors_turn_faster() -> None:
    turned = {}
    for length in (1.0, 0.5):
        head = MarginHead(3, 2, margin="cosface")
        with torch.no_grad():
            head.weight.copy_(length * torch.eye(2, 3))
        optimizer = torch.optim.SGD(head.parameters(), lr=1e-4)
        head(torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([0])).backward()
        optimizer.step()
        row = head.weight.detach()[0].double()
        turned[length] = math.atan2(float(row[1:].norm()), float(row[0]))
    assert turned[0.5] == pytest.approx(4 * turned[1.0], rel=1e-2)
    # N(0, 1), N(0, 0.01²) and N(0, 2/D) of 512 numbers
    lengths = [deviation * 512**0.5 for deviation in (1.0, 0.01, (2 / 512) ** 0.5)]
    assert lengths == pytest.approx([22.6, 0.23, 1.4], rel=2e-2)


def test_room_for_ten_classes() -> None:
    angles = [round(math.degrees(math.acos(smallest_nearest_cosine(10, dim)))) for dim in (2, 9)]
    assert angles == [36, 96]


def test_degrees_are_refused() -> None:
    with pytest.raises(ValueError, match=r"ArcFace: angle must lie in \[0, 3\.14159\] radians, got 28\.6"):
        ArcFace(28.6)


def test_a_sum_in_place_of_the_mean() -> None:
    x, y = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    head = MarginHead(4, 3, margin="cosface")
    torch.testing.assert_close(head(x, y, num_samples=1.0), 5 * head(x, y))


# -- the other library ------------------------------------------------------------------------------------------------

LOSSES = table(OTHER, "| `losses.` |")
# of scipy, in its constructors
QUIET = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")


@pytest.fixture
def losses() -> Any:
    """Of pytorch-metric-learning, where its version 2 is installed."""
    found = pytest.importorskip("pytorch_metric_learning.losses")
    if not importlib.metadata.version("pytorch-metric-learning").startswith("2."):
        pytest.skip("the page was held against version 2")
    return found


@QUIET
@pytest.mark.parametrize(("there", "here"), LOSSES, ids=[row[0].split("(")[0].strip("`") for row in LOSSES])
def test_the_losses_of_pytorch_metric_learning_are_these(losses: Any, there: str, here: str) -> None:
    name, arguments = re.fullmatch(r"`(\w+)\((.*)\)`", there).groups()  # type: ignore[union-attr]
    theirs = eval(f"make(num_classes=7, embedding_size=16, {arguments})", {"make": getattr(losses, name)})
    head = eval(f"make(16, 7, {here.strip('`')})", {"make": MarginHead, "math": math})
    with torch.no_grad():
        head.weight.copy_(theirs.W.t())
    generator = torch.Generator().manual_seed(0)
    # lengths around 2, and one feature almost opposite to its class vector
    x, y = 0.5 * torch.randn(40, 16, generator=generator), torch.randint(7, (40,), generator=generator)
    x[0] = -1.5 * head.weight.detach()[y[0] * head.margin.centers] + 0.1 * x[0]
    ours, their = x.clone().requires_grad_(), x.clone().requires_grad_()
    loss, expected = head(ours, y), theirs(their, y)
    torch.testing.assert_close(loss, expected, rtol=2e-6, atol=1e-6)
    (by_ours,), (by_their,) = torch.autograd.grad(loss, ours), torch.autograd.grad(expected, their)
    torch.testing.assert_close(by_ours, by_their, rtol=2e-4, atol=1e-4)
    torch.testing.assert_close(head(x), theirs.get_logits(x), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("beyond", [False, True])
def test_the_arcface_of_insightface_is_this(beyond: bool) -> None:
    """The value of cos(theta + m), whatever it does past 180 degrees, and the derivative of the cosine."""
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (20, 5))
    y = torch.randint(5, (20,), generator=generator)
    if beyond:
        x = 0.3 * x - 2 * w[y]
    arcface = {"name": "arcface", "angle": 0.5, "beyond_pi": "cosine"}
    head = MarginHead(8, 5, margin=arcface, gradient="detached", dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(w)
    inputs = (x.requires_grad_(), w.requires_grad_())
    cosine = functional.normalize(x) @ functional.normalize(w).T
    with torch.no_grad():
        angle = cosine.acos()
        assert bool((angle.gather(1, y[:, None]) + 0.5 > math.pi).any()) == beyond
        harder = torch.where(functional.one_hot(y, 5) > 0, (angle + 0.5).cos(), cosine)
    expected = functional.cross_entropy(64 * (cosine + (harder - cosine).detach()), y)
    found = head(x, y)
    torch.testing.assert_close(found, expected)
    by = torch.autograd.grad(found, (x, head.weight))
    torch.testing.assert_close(by, torch.autograd.grad(expected, inputs), rtol=1e-9, atol=1e-9)


@QUIET
def test_what_differs_from_pytorch_metric_learning(losses: Any) -> None:
    assert losses.SphereFaceLoss(7, 16, margin=2.5).margin == 2
    theirs = losses.ArcFaceLoss(7, 16)
    theirs(torch.randn(3, 16).half(), torch.tensor([0, 1, 2]))
    assert theirs.W.dtype == torch.float16

    infinite = 0
    for seed in range(20):
        torch.manual_seed(seed)
        theirs, head = losses.ArcFaceLoss(7, 16, margin=5, scale=8), MarginHead(16, 7, margin=ArcFace(0.1), scale=8.0)
        with torch.no_grad():
            head.weight.copy_(theirs.W.t())
        on_it = theirs.W.detach()[:, 3].clone()[None]
        found = []
        for loss in (theirs, head):
            x = on_it.clone().requires_grad_()
            loss(x, torch.tensor([3])).backward()
            assert x.grad is not None
            found.append(bool(x.grad.isfinite().all()))
        infinite += not found[0]
        assert found[1]
    assert infinite


def test_the_table_of_two_features_is_what_was_measured() -> None:
    panels = json.loads((ROOT / "docs" / "figures" / "planes.json").read_text())
    rows = table(PAGE, "| loss | test accuracy")
    assert [row[0] for row in rows] == [one["title"] for one in panels]
    for row, one in zip(rows, panels, strict=True):
        measured = [f"{one['accuracy']:.2%}", *(f"{one[name]:.3f}" for name in ("spread", "gap", "smallest_gap"))]
        assert row[1:5] == [cell.replace("%", " %") for cell in measured]
        assert row[5] == f"{one['overlapping']} of {one['pairs']}"


def test_the_table_of_lfw_is_what_was_measured() -> None:
    lines = [json.loads(line) for line in (ROOT / "studies" / "results" / "faces.jsonl").read_text().splitlines()]
    rows = table((ROOT / "docs" / "recipes.md").read_text(), "| recipe | fold 1, official")
    for name, *cells in rows:
        mine = sorted((line for line in lines if line["recipe"] == name.strip("`")), key=lambda line: line["fold"])
        assert [line["fold"] for line in mine] == [1, 2]
        assert cells == [f"{100 * line[rule]:.2f} %" for rule in ("official", "common") for line in mine]
