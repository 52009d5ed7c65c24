# SPDX-License-Identifier: MIT
"""The head with every margin: class = function, memory, precision, compiled, copied, sharded, written down."""

from __future__ import annotations

import copy
import io
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import hypersphere.nn.head as module
from hypersphere.formulas.margins import MARGINS, as_margin
from hypersphere.functional.classification import class_logits
from hypersphere.functional.margins import margin_logits, margin_loss
from hypersphere.kernels import classes
from hypersphere.nn import MarginHead
from margin_loops import CASES, arguments, title

REMEMBERING = ("curricularface", "adaface")
LABELS = torch.tensor([0, 1, 2, 3, 4, 4])


def make(**options: Any) -> tuple[MarginHead, Tensor, Tensor]:
    torch.manual_seed(0)
    return MarginHead(8, 5, **options), torch.randn(6, 8) * 3, LABELS


def options_of(case: dict[str, Any]) -> dict[str, Any]:
    return {"margin": arguments(case), "scale": case.get("scale", "default")}


def memory(head: MarginHead) -> dict[str, float]:
    return {name: head.get_buffer(name).item() for name in head.margin.initial_state()}


@pytest.mark.parametrize("gradient", ["exact", "detached"])
@pytest.mark.parametrize("case", CASES, ids=title)
def test_the_class_is_the_function(case: dict[str, Any], gradient: str) -> None:
    head, x, y = make(**options_of(case), gradient=gradient, class_weights=torch.tensor([1.0, 2.0, 0.5, 0.0, 1.0]))
    head.annealing.fill_(2.0)
    head.eval()
    state = {name: head.get_buffer(name) for name in head.margin.initial_state()}
    given = {"margin": head.margin, "scale": head.scale, "bias": head.bias}
    training = given | {"gradient": gradient, "annealing": 2.0, "state": state}
    found, seen = head.loss_and_measures(x, y)
    expected, told = margin_loss(x, head.weight, y, **training, class_weights=head.class_weights, with_measures=True)
    torch.testing.assert_close(found, expected)
    assert torch.equal(head(x, y), found)
    gradients = [torch.autograd.grad(value, tuple(head.parameters())) for value in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert torch.equal(head.margin_logits(x, y), margin_logits(x, head.weight, y, **training))
    assert torch.equal(head(x), margin_logits(x, head.weight, **given))
    for a, b in zip(seen[:4], told[:4], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(head.measures(x, y)[:4], told[:4], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("case", CASES, ids=title)
def test_it_is_written_down_and_built_again(case: dict[str, Any]) -> None:
    head, x, y = make(**options_of(case), gradient="detached", ignore_index=7)
    arguments_ = head.arguments()
    # plain values, as a settings file holds them
    other = MarginHead(**eval(repr(arguments_)))
    assert other.margin == head.margin == as_margin(arguments(case))
    assert other.arguments() == arguments_
    other.load_state_dict(head.state_dict(), strict=True)
    assert torch.equal(other.eval()(x, y), head.eval()(x, y))


# ------------------------------------------------------------------------------------------------------ learned scale


@pytest.mark.parametrize("name", MARGINS)
def test_a_learned_scale_and_every_other_parameter_has_the_exact_gradient(name: str) -> None:
    margin = MARGINS[name]
    wanted = "learned" if margin.normalized and not margin.weighs_loss else "default"
    head, x, y = make(margin=name, scale=wanted, dtype=torch.float64)
    if head.log_scale is not None:
        assert head.log_scale.exp().item() == pytest.approx(
            margin.default_scale if isinstance(margin.default_scale, float) else 30.0
        )
        # a small one, so that no probability is all or nothing
        head.log_scale.data.fill_(math.log(3.0))
    if name == "circle":
        pytest.skip("its weights are constants to autograd")
    head.eval()
    names = [key for key, _ in head.named_parameters()]
    values = tuple(p.detach().clone().requires_grad_() for p in head.parameters())

    def loss(*given: Tensor) -> Tensor:
        return torch.func.functional_call(head, dict(zip(names, given, strict=True)), (x.double(), y))

    assert torch.autograd.gradcheck(loss, values, fast_mode=True)


@pytest.mark.parametrize("name", ["sphereface2", "sphereface_r"])
def test_a_scale_that_divides_the_loss_is_not_learned(name: str) -> None:
    kind, number = type(MARGINS[name]).__name__, MARGINS[name].default_scale
    message = rf"MarginHead: the loss of {kind} is weighed by its scale, .* Use scale='default', which is {number}\."
    with pytest.raises(ValueError, match=message):
        make(margin=name, scale="learned")


# ------------------------------------------------------------------------------------------------------------- memory


def test_curricularface_remembers_the_mean_cosine() -> None:
    head, x, y = make(margin="curricularface", ignore_index=3)
    cosine = class_logits(x, head.weight).gather(1, y[:, None])[:, 0]
    mean = cosine[y != 3].mean().item()
    head(x, y)
    assert memory(head)["running_cosine"] == pytest.approx(0.01 * mean, rel=1e-5)
    head(x, y)
    assert memory(head)["running_cosine"] == pytest.approx(0.01 * mean + 0.99 * 0.01 * mean, rel=1e-5)


def test_the_memory_moves_before_it_is_used() -> None:
    head, x, y = make(margin={"name": "curricularface", "momentum": 1.0}, scale=4.0)
    found = head(x, y)
    mean = class_logits(x, head.weight).gather(1, y[:, None]).mean().detach()
    given = {"margin": head.margin, "scale": 4.0}
    expected = margin_loss(x, head.weight, y, **given, state={"running_cosine": mean})
    torch.testing.assert_close(found, expected)
    assert abs(expected - margin_loss(x, head.weight, y, **given)) > 1e-3


def test_adaface_remembers_lengths_as_it_holds_them() -> None:
    """The release holds lengths in [1e-3, 100] first, and divides by N - 1."""
    head, x, y = make(margin={"name": "adaface", "momentum": 0.25}, ignore_index=1)
    x[0], x[2] = 0.0, 1e6
    norm = x.norm(dim=1)[y != 1].clamp(1e-3, 100)
    head(x, y)
    expected = {"running_mean": 15 + 0.25 * norm.mean().item(), "running_deviation": 75 + 0.25 * norm.std().item()}
    assert memory(head) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", REMEMBERING)
def test_the_memory_moves_once_with_each_training_loss_and_never_else(name: str) -> None:
    head, x, y = make(margin=name)
    start = memory(head)

    def unchanged() -> bool:
        return memory(head) == start

    head.margin_logits(x, y)
    head.measures(x, y)
    head(x)
    assert unchanged()
    with torch.no_grad():
        head(x, y)
    with torch.inference_mode():
        head(x, y)
    assert unchanged()
    head.eval()
    head(x, y)
    head.loss_and_measures(x, y)
    assert unchanged()
    head.train()
    head(x, torch.full_like(y, -100))
    assert unchanged()
    head(x, y)
    once = memory(head)
    assert not unchanged()
    again = make(margin=name)[0]
    again.loss_and_measures(x, y)
    assert memory(again) == once
    head.reset_parameters()
    assert unchanged()


@pytest.mark.parametrize("number", [math.inf, math.nan])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("name", REMEMBERING)
def test_a_batch_that_overflowed_leaves_the_memory(
    name: str, where: str, number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, x, y = make(margin=name)
    head(x, y)
    once, features = memory(head), x.half()
    if where == "here":
        features[2, 3] = number
    else:
        # what another process adds to the sums
        monkeypatch.setattr(module, "over_processes", lambda sums: sums + sums.new_tensor([6.0] + 3 * [number]))
    head(features, y)
    assert memory(head) == once
    monkeypatch.undo()
    assert head(x, y).isfinite()
    assert memory(head) != once


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_memory_costs_no_second_product_with_the_class_vectors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head, x, y = make(margin=name)
    losses: list[bool] = []
    whole = module.margin_loss
    monkeypatch.setattr(module, "margin_loss", lambda *a, **k: (losses.append(True), whole(*a, **k))[1])
    head(x, y)
    assert losses == [True]


@pytest.mark.parametrize("kept", [0, 2**25])
def test_two_losses_before_one_backward(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each keeps the memory that it saw, also where logits are computed a second time."""
    monkeypatch.setattr(classes, "_KEPT", kept)
    gradients = []
    for limit in (2**16, 0):
        monkeypatch.setattr("hypersphere.functional.margins._LARGEST_PLAIN", limit)
        head, x, y = make(margin={"name": "curricularface", "momentum": 0.9}, scale=4.0)
        total = head(x, y) + head(x.flip(0), y)
        gradients.append(torch.autograd.grad(total, head.weight)[0])
    torch.testing.assert_close(*gradients)


def test_annealing_may_move_before_the_backward_pass() -> None:
    head, x, y = make(margin="sphereface")
    head.annealing.fill_(5.0)
    loss = head(x, y)
    (expected,) = torch.autograd.grad(loss, head.weight, retain_graph=True)
    head.annealing.zero_()
    assert torch.equal(torch.autograd.grad(loss, head.weight)[0], expected)
    assert "annealing" not in head.state_dict()


# ---------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("name", MARGINS)
def test_a_model_of_low_precision_keeps_its_head(name: str) -> None:
    head, x, y = make(margin=name)
    expected, inference = make(margin=name)[0](x, y), make(margin=name)[0](x)
    with torch.autocast("cpu", torch.bfloat16):
        found, logits = head(x, y), head(x)
    assert torch.equal(found, expected)
    assert torch.equal(logits, inference)
    for dtype in (torch.bfloat16, torch.float16):
        head, x, y = make(margin=name)
        loss = head.to(dtype)(x.to(dtype), y)
        loss.backward()
        assert {t.dtype for t in (*head.parameters(), *head.buffers(), loss, head.weight.grad)} == {torch.float32}
        wide, x, y = make(margin=name)
        assert torch.equal(loss, wide(x.to(dtype).float(), y))


@pytest.mark.parametrize("name", MARGINS)
def test_features_of_float64_with_a_head_of_float32(name: str) -> None:
    margin = MARGINS[name]
    head, x, y = make(margin=name, scale="learned" if margin.normalized and not margin.weighs_loss else "default")
    loss = head(x.double(), y)
    loss.backward()
    assert loss.dtype == torch.float64
    assert {p.grad.dtype for p in head.parameters()} == {torch.float32}
    assert {b.dtype for b in head.buffers()} == {torch.float32}


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_of_low_precision_is_widened(assign: bool) -> None:
    head, x, y = make(margin="sphereface2")
    other = make(margin="adaface", scale="learned", class_weights=torch.ones(5))[0]
    for loaded in (head, other):
        narrow = {f"head.{name}": value.bfloat16() for name, value in loaded.state_dict().items()}
        model = torch.nn.ModuleDict({"head": loaded})
        model.load_state_dict(narrow, assign=assign)
        assert {t.dtype for t in (*loaded.parameters(), *loaded.buffers())} == {torch.float32}
        assert all(value.requires_grad for value in loaded.parameters())
        assert {value.dtype for value in narrow.values()} == {torch.bfloat16}
        assert torch.equal(loaded.weight, narrow["head.weight"].float())
        assert loaded(x, y).isfinite()
    double = {name: value.double() for name, value in head.state_dict().items()}
    head.load_state_dict(double, assign=True)
    assert head.weight.dtype == torch.float64


# ----------------------------------------------------------------------------------------------- as a module of torch


@pytest.mark.parametrize("name", [name for name in MARGINS if name not in ("softmax", "normalized_softmax")])
def test_compiled_equals_eager(name: str) -> None:
    """Those without a margin are compiled with every scale in test_head.py."""
    torch.compiler.reset()
    head, x, y = make(margin=name)
    other = copy.deepcopy(head)
    x.requires_grad_()
    found, expected = torch.compile(lambda a, b: head(a, b), backend="aot_eager", fullgraph=True)(x, y), other(x, y)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value, (x, *h.parameters())) for value, h in ((found, head), (expected, other))]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * (1 + b.abs().max().item()))
    assert memory(head) == pytest.approx(memory(other), rel=1e-5)


@pytest.mark.parametrize("name", MARGINS)
def test_inference_is_exported(name: str) -> None:
    head, x, _ = make(margin=name)
    batch = torch.export.Dim("batch", min=2, max=1024)
    program = torch.export.export(head.eval(), (x,), dynamic_shapes={"x": {0: batch}})
    torch.testing.assert_close(program.module()(x[:3]), head(x[:3]))


@pytest.mark.parametrize("name", MARGINS)
def test_copies_and_states(name: str) -> None:
    head, x, y = make(margin=name)
    head(x, y)
    copies = [copy.deepcopy(head), pickle.loads(pickle.dumps(head))]
    other = MarginHead(**head.arguments(), device="meta")
    assert {t.device.type for t in (*other.parameters(), *other.buffers())} == {"meta"}
    other.to_empty(device="cpu").reset_parameters()
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert set(head.margin.initial_state()) < set(head.state_dict())
    for made in (*copies, other):
        assert memory(made) == memory(head)
        assert torch.equal(made.eval()(x, y), head.eval()(x, y))
        head.train()


def test_class_weights_that_are_none_are_refused_in_words() -> None:
    for weights, arrived in (
        (torch.zeros(0), r"\(0,\)\."),
        (torch.ones(4), r"\(4,\)\."),
        (torch.tensor([1.0, -2.0, 1.0, 1.0, 1.0]), r"\(5,\) with a least of -2\."),
    ):
        with pytest.raises(ValueError, match=r"expected class_weights \(5,\) of numbers of 0 or more, got " + arrived):
            make(class_weights=weights)


# ------------------------------------------------------------------------------------------------------------ sharded


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", ["arcface", "l_softmax", "sub_center_arcface", "curricularface"])
def test_fsdp_gathers_the_class_vectors_for_the_head_itself(name: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    head, x, y = make(margin=name)
    expected = copy.deepcopy(head)
    expected(x, y).backward()
    fully_shard(head, mesh=init_device_mesh("cpu", (1,)))
    assert isinstance(head.weight, DTensor)
    head(x, y).backward()
    torch.testing.assert_close(head.weight.grad.full_tensor(), expected.weight.grad)
    torch.testing.assert_close(head(x), expected(x))


@pytest.mark.usefixtures("alone")
def test_a_part_of_the_class_vectors_is_refused_in_words() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    head, x, y = make(margin="curricularface")
    part = distribute_tensor(head.weight.detach(), init_device_mesh("cpu", (1,)), [Shard(0)])
    message = r"the class vectors are divided among processes \(DTensor\), .* or pass weight\.full_tensor\(\)\."
    for call in (margin_loss, margin_logits, lambda x, w, y: class_logits(x, w)):
        with pytest.raises(ValueError, match=message):
            call(x, part, y)
    head.weight = torch.nn.Parameter(part)
    for call in (head.loss_and_measures, head.measures, head.margin_logits, head):
        with pytest.raises(ValueError, match=r"MarginHead: " + message):
            call(x, y)
    assert margin_loss(x, part.full_tensor(), y).isfinite()
