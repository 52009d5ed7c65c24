# SPDX-License-Identifier: MIT
"""Recurrent cells by angle: each against loops in float64, their zero states, gates, precision and module habits."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from hypersphere.formulas.angles import Sigmoid
from hypersphere.nn.recurrent import SphereGRUCell, SphereLSTMCell, SphereRNNCell

CELLS = {"rnn": SphereRNNCell, "gru": SphereGRUCell, "lstm": SphereLSTMCell}
TORCH = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
FORMS = ("sum", "concatenated")


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(kind: str, **options: object) -> nn.Module:
    """A cell of 3 inputs and 4 hidden numbers whose parameters are all drawn at random."""
    cell = CELLS[kind](3, 4, **({"dtype": torch.float64} | options))
    with torch.no_grad():
        for number, parameter in enumerate(cell.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=10 + number))
    return cell


def state(kind: str, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor | tuple[Tensor, Tensor]:
    h, c = normal(*shape, seed=2, dtype=dtype), normal(*shape, seed=3, dtype=dtype)
    return (h, c) if kind == "lstm" else h


def first(found: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return found[0] if isinstance(found, tuple) else found


# ----------------------------------------------------------------------------------------------------------- the oracle


def angle_of(name: str, w: list[float], x: list[float], eps: float, k: float) -> float:
    """g(theta) of two lists of numbers, by the published formulas."""
    n, r = (math.sqrt(math.fsum(v * v for v in vector) + eps) for vector in (w, x))
    c = math.fsum(a * b for a, b in zip(w, x, strict=True)) / n / r
    theta = math.acos(c)
    if name == "cosine":
        return c
    if name == "linear":
        return 1 - 2 * theta / math.pi
    if name == "square_cosine":
        return math.copysign(c * c, c)
    end, here = math.exp(-math.pi / (2 * k)), math.exp(theta / k - math.pi / (2 * k))
    return (1 + end) / (1 - end) * (1 - here) / (1 + here)


def by_loops(
    kind: str, cell: nn.Module, name: str, x: list[float], h: list[float], c: list[float]
) -> list[list[float]]:
    """The next state of one sample, a unit at a time."""
    num, form = cell.hidden_size, cell.form
    w, u, gain = cell.weight_ih.tolist(), cell.weight_hh.tolist(), cell.gain.tolist()
    bias = [0.0] * len(gain) if cell.bias is None else cell.bias.tolist()
    k = [abs(raw) + 0.05 for raw in cell.raw_k.tolist()] if cell.raw_k is not None else [0.3] * len(gain)

    def unit(row: int, reset: list[float] | None = None) -> float:
        kept = h if reset is None else [r * value for r, value in zip(reset, h, strict=True)]
        if form == "concatenated":
            found = angle_of(name, w[row] + u[row], x + kept, cell.eps, k[row])
        else:
            share = 1.0 if reset is None else reset[row - 2 * num]
            found = angle_of(name, w[row], x, cell.eps, k[row]) + share * angle_of(name, u[row], h, cell.eps, k[row])
        return gain[row] * found + bias[row]

    def gate(row: int) -> float:
        return 1 / (1 + math.exp(-unit(row)))

    if kind == "rnn":
        return [[math.tanh(unit(i)) if cell.nonlinearity == "tanh" else max(0.0, unit(i)) for i in range(num)]]
    if kind == "gru":
        reset = [gate(i) for i in range(num)]
        update = [gate(num + i) for i in range(num)]
        new = [math.tanh(unit(2 * num + i, reset)) for i in range(num)]
        return [[(1 - z) * n + z * old for z, n, old in zip(update, new, h, strict=True)]]
    kept = [gate(num + i) * c[i] + gate(i) * math.tanh(unit(2 * num + i)) for i in range(num)]
    return [[gate(3 * num + i) * math.tanh(kept[i]) for i in range(num)], kept]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("name", ["cosine", "linear", "square_cosine", "sigmoid", "learned_sigmoid"])
def test_a_cell_is_its_formula(kind: str, form: str, name: str) -> None:
    cell = made(kind, form=form, angle=name, bias=name != "linear")
    x, hidden = normal(5, 3), state(kind, 5, 4)
    found = cell(x, hidden)
    parts = found if kind == "lstm" else (found,)
    old_h, old_c = hidden if kind == "lstm" else (hidden, hidden)
    formula = "sigmoid" if name == "learned_sigmoid" else name
    for i in range(5):
        expected = by_loops(kind, cell, formula, x[i].tolist(), old_h[i].tolist(), old_c[i].tolist())
        for part, values in zip(parts, expected, strict=True):
            assert part[i].tolist() == pytest.approx(values, abs=1e-12)


def test_relu() -> None:
    cell = made("rnn", nonlinearity="relu")
    x, h = normal(3), normal(4, seed=2)
    (expected,) = by_loops("rnn", cell, "cosine", x.tolist(), h.tolist(), h.tolist())
    assert cell(x, h).tolist() == pytest.approx(expected, abs=1e-12)
    assert min(expected) == 0.0 < max(expected)


# ---------------------------------------------------------------------------------------------------- states and inputs


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CELLS)
def test_no_state_is_a_zero_state(kind: str, form: str) -> None:
    cell, x = made(kind, form=form), normal(5, 3)
    zero = torch.zeros(5, 4, dtype=torch.float64)
    given = cell(x, (zero, zero) if kind == "lstm" else zero)
    for found, expected in zip(
        cell(x) if kind == "lstm" else [cell(x)], given if kind == "lstm" else [given], strict=True
    ):
        assert torch.equal(found, expected)


def test_a_zero_state_adds_nothing() -> None:
    cell, x = made("rnn"), normal(5, 3)
    cosines = nn.functional.normalize(x) @ nn.functional.normalize(cell.weight_ih).T
    assert torch.allclose(cell(x), torch.tanh(cell.gain * cosines + cell.bias), atol=1e-3)
    zero = torch.zeros(5, 3, dtype=torch.float64)
    assert torch.equal(cell(zero), torch.tanh(cell.bias).expand(5, -1))


@pytest.mark.parametrize("kind", CELLS)
def test_a_single_sample_is_a_batch_of_one(kind: str) -> None:
    cell, x = made(kind), normal(5, 3)
    hidden = state(kind, 5, 4)
    batch = first(cell(x, hidden))
    one = first(cell(x[0], (hidden[0][0], hidden[1][0]) if kind == "lstm" else hidden[0]))
    assert one.shape == (4,)
    assert torch.allclose(one, batch[0], atol=1e-15)
    assert first(cell(x[0])).shape == (4,)
    assert first(cell(x[:0])).shape == (0, 4)


def test_lengths_count_only_where_both_are_one_vector() -> None:
    x, h = normal(5, 3), normal(5, 4, seed=2)
    apart, joint = made("rnn", eps=0.0), made("rnn", eps=0.0, form="concatenated")
    assert torch.allclose(apart(7 * x, h / 9), apart(x, h), atol=1e-12)
    assert torch.allclose(joint(7 * x, 7 * h), joint(x, h), atol=1e-12)
    assert (joint(7 * x, h / 9) - joint(x, h)).abs().max() > 0.1


def test_the_reset_gate_can_forget() -> None:
    # with a reset of zero the candidate is that of a cell without a past
    for form in FORMS:
        cell, x, h = made("gru", form=form), normal(5, 3), normal(5, 4, seed=2)
        with torch.no_grad():
            cell.bias[:4] = -1e3
            cell.bias[4:8] = -1e3
        assert torch.allclose(cell(x, h), cell(x), atol=1e-12)
        with torch.no_grad():
            cell.bias[4:8] = 1e3
        assert torch.allclose(cell(x, h), h, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CELLS)
def test_gradients_are_exact(kind: str, form: str) -> None:
    cell = made(kind, form=form, angle="learned_sigmoid")
    names = list(dict(cell.named_parameters()))
    x, hidden = normal(2, 3).requires_grad_(), state(kind, 2, 4)
    hidden = hidden if kind == "lstm" else (hidden,)
    inputs = [x, *(part.requires_grad_() for part in hidden), *cell.parameters()]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        given = values[: len(hidden)]
        parameters = dict(zip(names, values[len(hidden) :], strict=True))
        found = torch.func.functional_call(cell, parameters, (x, given if kind == "lstm" else given[0]))
        return torch.cat(found) if kind == "lstm" else found

    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("angle", ["cosine", "linear", "sigmoid", "learned_sigmoid", "square_cosine"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("length", [0.0, 1e-20, 1.0, 1e15])
def test_values_and_gradients_are_finite(kind: str, form: str, angle: str, length: float) -> None:
    torch.manual_seed(0)
    cell = CELLS[kind](3, 4, form=form, angle=angle)
    # parallel, opposite and at right angles to the weights of some units
    x = (torch.stack((cell.weight_ih[0], -cell.weight_ih[1])).detach() * length).requires_grad_()
    h = (torch.stack((cell.weight_hh[0], -cell.weight_hh[1])).detach() * length).requires_grad_()
    found = first(cell(x, (h, h) if kind == "lstm" else h))
    found.sum().backward()
    assert found.isfinite().all()
    gradients = [x.grad, h.grad, *(parameter.grad for parameter in cell.parameters())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_a_gate_can_open_and_shut_from_the_start() -> None:
    # a bounded sum without a gain stays within sigmoid(+-2); what lies along its weights opens a gate now
    for form in FORMS:
        cell = SphereLSTMCell(3, 4, form=form, dtype=torch.float64)
        both = cell._preactivation(cell.weight_ih[:1], cell.weight_hh[:1])[0, 0]
        assert both.item() == pytest.approx(8.0, abs=0.01)
    one = SphereLSTMCell(3, 4, dtype=torch.float64)
    assert one._preactivation(one.weight_ih[:1], torch.zeros(1, 4, dtype=torch.float64))[0, 0].sigmoid() > 0.98


# ---------------------------------------------------------------------------------------------------------- as a module


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_is_made_and_called_as_that_of_torch(kind: str) -> None:
    ours, theirs = CELLS[kind](3, 4), TORCH[kind](3, 4)
    for name in ("weight_ih", "weight_hh"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    assert ours.bias.shape == ours.gain.shape == theirs.bias_ih.shape
    assert list(ours.state_dict()) == ["weight_ih", "weight_hh", "gain", "bias"]
    assert list(CELLS[kind](3, 4, False, angle=Sigmoid(0.5, learnable=True)).state_dict()) == [
        "weight_ih", "weight_hh", "gain", "raw_k"]  # fmt: skip
    x, hidden = normal(5, 3, dtype=torch.float32), state(kind, 5, 4, dtype=torch.float32)
    found, expected = ours(x, hidden), theirs(x, hidden)
    assert type(found) is type(expected)
    assert first(found).shape == first(expected).shape


def test_starting_values() -> None:
    torch.manual_seed(0)
    cell = SphereGRUCell(50, 200, angle=Sigmoid(0.5, learnable=True))
    for weight in (cell.weight_ih, cell.weight_hh):
        assert weight.norm(dim=1).mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(cell.gain, torch.full((600,), 4.0))
    assert torch.equal(SphereGRUCell(5, 2, form="concatenated").gain, torch.full((6,), 8.0))
    assert torch.equal(cell.bias, torch.zeros(600))
    assert torch.allclose(cell.k, torch.full((600,), 0.5))
    before = cell.weight_ih.detach().clone()
    with torch.no_grad():
        cell.gain.zero_()
    cell.reset_parameters()
    assert not torch.equal(cell.weight_ih, before)
    assert cell.gain.unique().tolist() == [4.0]
    assert SphereGRUCell(5, 2).k is None


def test_state_copies_and_devices() -> None:
    cell, x = SphereLSTMCell(3, 4, angle="learned_sigmoid"), normal(5, 3, dtype=torch.float32)
    other = SphereLSTMCell(3, 4, angle="learned_sigmoid")
    other.load_state_dict(cell.state_dict(), strict=True)
    assert torch.equal(other(x)[0], copy.deepcopy(cell)(x)[0])
    assert all(parameter.is_meta for parameter in SphereLSTMCell(3, 4, device="meta").parameters())
    assert repr(SphereRNNCell(3, 4)) == "SphereRNNCell(3, 4, angle=Cosine(), eps=0.0001, form='sum')"
    assert repr(SphereRNNCell(3, 4, False, "relu", eps=0.0, form="concatenated")) == (
        "SphereRNNCell(3, 4, angle=Cosine(), eps=0, form='concatenated', bias=False, nonlinearity='relu')"
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CELLS)
def test_projection_leaves_the_function(kind: str, form: str) -> None:
    cell, x, hidden = made(kind, form=form, eps=0.0), normal(5, 3), state(kind, 5, 4)
    before = first(cell(x, hidden))
    cell.project_()
    assert torch.allclose(first(cell(x, hidden)), before, atol=1e-14)
    joint = torch.cat((cell.weight_ih, cell.weight_hh), dim=1)
    weights = [joint] if form == "concatenated" else [cell.weight_ih, cell.weight_hh]
    for weight in weights:
        assert torch.allclose(weight.norm(dim=1), torch.ones(len(weight), dtype=torch.float64))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CELLS)
def test_low_precision(kind: str, form: str) -> None:
    torch.manual_seed(0)
    cell, x = CELLS[kind](16, 16, form=form, angle="linear"), normal(5, 16, dtype=torch.float32)
    hidden = state(kind, 5, 16, dtype=torch.float32)
    exact = first(cell(x, hidden))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = first(cell(x, hidden))
        narrow = first(cell(x.bfloat16(), hidden))
    assert same.dtype == torch.float32
    assert narrow.dtype == torch.bfloat16
    half = first(copy.deepcopy(cell).bfloat16()(x.bfloat16(), hidden))
    assert half.dtype == torch.bfloat16
    for found in (same, narrow, half):
        # cosines of 8 bits, times a gain of 4 or 8
        assert torch.allclose(found.float(), exact, atol=0.06)
        assert not torch.equal(found.float(), exact)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CELLS)
def test_compiled_equals_eager(kind: str, form: str) -> None:
    cell = made(kind, form=form, angle="learned_sigmoid")
    x, hidden = normal(5, 3), state(kind, 5, 4)
    compiled = torch.compile(lambda x, h: first(cell(x, h)), fullgraph=True, backend="aot_eager")
    expected, found = first(cell(x, hidden)), compiled(x, hidden)
    assert torch.allclose(expected, found, atol=1e-12)
    gradients = [torch.autograd.grad(value.sum(), cell.weight_hh)[0] for value in (expected, found)]
    assert torch.allclose(*gradients, atol=1e-12)
    torch.compiler.reset()


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_learns_to_remember(kind: str) -> None:
    # the answer stands in the first of four vectors; what comes after is noise
    torch.manual_seed(0)
    cell, head = CELLS[kind](4, 16), nn.Linear(16, 4)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=0.02)
    for _ in range(120):
        answers = torch.randint(0, 4, (64,))
        sequence = torch.randn(4, 64, 4)
        sequence[0] = nn.functional.one_hot(answers, 4) * 3.0
        hidden = None
        for x in sequence:
            hidden = cell(x, hidden)
        logits = head(first(hidden))
        loss = nn.functional.cross_entropy(logits, answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (logits.argmax(dim=1) == answers).float().mean().item()
    assert accuracy > (0.6 if kind == "rnn" else 0.9), accuracy


WORDS = [
    ({"input_size": 0}, r"SphereGRUCell: input_size must be a whole number of 1 or more, got 0\."),
    ({"hidden_size": 2.0}, r"SphereGRUCell: hidden_size must be a whole number of 1 or more, got 2\.0\."),
    ({"form": "product"}, r"SphereGRUCell: unknown form 'product': choose concatenated, sum"),
    ({"angle": "cosin"}, r"unknown angle 'cosin': choose .* \(did you mean 'cosine'\?\)"),
    ({"eps": -1.0}, r"SphereGRUCell: eps must lie in \[0, 1\], got -1\."),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WORDS)
def test_wrong_arguments_are_refused_in_words(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SphereGRUCell(**({"input_size": 3, "hidden_size": 4} | options))


def test_an_unknown_nonlinearity_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"SphereRNNCell: unknown nonlinearity 'elu': choose relu, tanh"):
        SphereRNNCell(3, 4, nonlinearity="elu")


def test_wrong_tensors_are_refused_in_words() -> None:
    cell, x = SphereLSTMCell(3, 4), torch.ones(5, 3)
    with pytest.raises(ValueError, match=r"SphereLSTMCell: expected input \(N, 3\) or \(3,\), got \(5, 4\)\."):
        cell(torch.ones(5, 4))
    with pytest.raises(ValueError, match=r"SphereLSTMCell: expected input \(N, 3\) or \(3,\), got \(1, 5, 3\)\."):
        cell(x[None])
    with pytest.raises(
        TypeError, match=r"SphereLSTMCell: expected input of a floating-point dtype, got torch\.int64\."
    ):
        cell(x.long())
    words = r"SphereLSTMCell: expected h of hx \(5, 4\) beside input \(5, 3\), got \(2, 4\)\."
    with pytest.raises(ValueError, match=words):
        cell(x, (torch.ones(2, 4), torch.ones(5, 4)))
    words = r"SphereLSTMCell: expected c of hx \(4,\) beside input \(3,\), got \(1, 4\)\."
    with pytest.raises(ValueError, match=words):
        cell(x[0], (torch.ones(4), torch.ones(1, 4)))
    for wrong, got in ((torch.ones(5, 4), "Tensor"), ((torch.ones(5, 4),) * 3, "tuple of 3")):
        with pytest.raises(
            TypeError, match=rf"SphereLSTMCell: expected hx to be a pair \(h, c\) of tensors, got {got}"
        ):
            cell(x, wrong)  # type: ignore[arg-type]
