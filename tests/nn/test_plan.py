# SPDX-License-Identifier: MIT
"""Which layers a conversion takes and leaves: defaults, patterns, what can never be converted, and the sentences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from hypersphere.models import Classifier, build
from hypersphere.nn import MarginHead
from hypersphere.nn.decoupled import DecoupledConv2d, DecoupledLinear
from hypersphere.nn.plan import plan_conversion
from hypersphere.nn.rotation import Rotation
from hypersphere.nn.sphere import SphereConv2d


class Block(nn.Module):
    """A residual block with a 1x1 shortcut, in a network with a stem and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.shortcut = nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x).relu()) + self.shortcut(x)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        Block(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 6),
        nn.Linear(6, 3),
    )


def converted(model: nn.Module, **options: object) -> list[str]:
    return [row.name for row in plan_conversion(model, **options) if row.action == "convert"]


def reasons(model: nn.Module, **options: object) -> dict[str, str]:
    return {row.name: row.reason for row in plan_conversion(model, **options) if row.action == "keep"}


# -------------------------------------------------------------------------------------------------------------- default


def test_the_plan_prints_as_a_table() -> None:
    plan = plan_conversion(network())
    assert str(plan) == repr(plan)
    assert str(plan).splitlines() == [
        "layer       kind    action",
        "0           Conv2d  convert  becomes a DecoupledConv2d",
        "2.conv1     Conv2d  convert  becomes a DecoupledConv2d",
        "2.conv2     Conv2d  convert  becomes a DecoupledConv2d",
        "2.shortcut  Conv2d  keep     is a convolution of size 1x1, which the published networks leave ordinary",
        "5           Linear  keep     is a linear layer; linear=True or a pattern of include converts it",
        "6           Linear  keep     is the output layer",
    ]
    assert str(plan_conversion(nn.ReLU())) == "layer  kind  action"


def test_nothing_is_changed_by_a_plan() -> None:
    model = network()
    state = torch.get_rng_state()
    before = {name: (type(module), set(vars(module))) for name, module in model.named_modules()}
    plan_conversion(model, angle="learned_sigmoid", magnitude="learned_tanh", gain=True, linear=True)
    assert {name: (type(module), set(vars(module))) for name, module in model.named_modules()} == before
    assert torch.equal(torch.get_rng_state(), state)


def test_one_and_three_axes() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Conv1d(4, 4, 1), nn.Conv3d(4, 4, (1, 1, 3)), nn.Conv3d(4, 4, 1))
    assert converted(model, output=()) == ["0", "2"]
    left = "which the published networks leave ordinary"
    assert reasons(model, output=()) == {
        "1": f"is a convolution of size 1, {left}",
        "3": f"is a convolution of size 1x1x1, {left}",
    }


def test_a_bare_layer_is_what_was_asked_for() -> None:
    for layer in (nn.Conv2d(2, 3, 1), nn.Linear(4, 3)):
        assert converted(layer) == [type(layer).__name__]


# --------------------------------------------------------------------------------------------------------------- output


class Said(nn.Module):
    """A model that says which layer is its classifier."""

    def __init__(self, classifier: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.heads = nn.ModuleDict({"one": nn.Linear(4, 3), "two": nn.Linear(4, 3), "three": nn.Linear(4, 2)})
        self.classifier = classifier

    def get_classifier(self) -> object:
        return self.classifier(self) if callable(self.classifier) else None


def test_the_output_layer_is_found() -> None:
    def outputs(model: nn.Module, **options: object) -> list[str]:
        return [
            name for name, reason in reasons(model, linear=True, **options).items() if reason == "is the output layer"
        ]

    assert outputs(network()) == ["6"]
    assert outputs(network(), output="5") == ["5"]
    assert outputs(network(), output=()) == []
    assert outputs(Said(None)) == ["heads.three"]
    assert outputs(Said(lambda self: self.heads["one"])) == ["heads.one"]
    assert outputs(Said(lambda self: (self.heads["one"], self.heads["two"]))) == ["heads.one", "heads.two"]
    # a head is the output, so the features before it are not
    model = build("digits-cnn", width=4, feature_dim=3)
    whole = Classifier(model, MarginHead(model.num_features, 10))
    assert outputs(whole) == []
    assert reasons(whole, linear=True) == {"head": "is a head, which has margins of its own"}


def test_a_convolution_can_be_the_output() -> None:
    upscaler = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 3))
    assert reasons(upscaler) == {"2": "is the output layer"}
    assert converted(upscaler, output=()) == ["0", "2"]
    backbone = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    assert reasons(backbone) == {}


# ------------------------------------------------------------------------------------------------------------- patterns


def test_patterns() -> None:
    model = network()
    assert converted(model, include="2.*") == ["2.conv1", "2.conv2", "2.shortcut"]
    assert converted(model, include=["0", "6"]) == ["0", "6"]
    assert reasons(model, include=["0", "6"])["2.conv1"] == "matches no pattern of include"
    assert converted(model, include="2.*", exclude="*.conv?") == ["2.shortcut"]
    assert converted(model, exclude="0") == ["2.conv1", "2.conv2"]
    assert reasons(model, exclude="[0]")["0"] == "matches '[0]' of exclude"
    assert converted(model, linear=True) == ["0", "2.conv1", "2.conv2", "5"]
    assert len(converted(model, include="*")) == 6


def test_a_pattern_that_matches_nothing_is_refused_in_words() -> None:
    words = r"plan_conversion: include pattern '2\.conv11' matches no layer \(did you mean '2\.conv1'\?\)\."
    with pytest.raises(ValueError, match=words):
        plan_conversion(network(), include="2.conv11")
    with pytest.raises(
        ValueError, match=r"(?s)plan_conversion: 2 problems:.*exclude pattern 'x\*'.*output pattern 'y'"
    ):
        plan_conversion(network(), exclude="x*", output="y")


def test_all_names_of_a_shared_layer_count() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.ModuleDict({"first": layer, "second": nn.ModuleList([layer, nn.Linear(4, 2)])})
    assert [row.name for row in plan_conversion(model)] == ["first", "second.1"]
    assert converted(model, include="second.0") == ["first"]
    assert converted(model, include="*.1") == ["second.1"]


# -------------------------------------------------------------------------------------------------------------- refused


class Own(nn.Conv2d):
    """A convolution that standardises its kernels."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Reader(nn.Module):
    """Computes with the weights of layers that it does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(4, 4)
        self.asked = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.linear(x, self.read.weight)
        if isinstance(self.asked.weight, Tensor) and x.dtype != self.asked.weight.dtype:
            x = x.to(self.asked.weight.dtype)
        return self.asked(x)


class Helped(nn.Module):
    """Computes with a weight in a method that another method calls; what no forward pass reaches does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.left = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.left(self.first(x))

    def first(self, x: Tensor) -> Tensor:
        return self.second(x)

    def second(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.read.weight)

    def draw(self) -> None:
        nn.init.zeros_(self.left.weight)


class Around(nn.Module):
    """Computes with the weight of a layer that lies in one that it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Sequential(nn.Conv2d(2, 2, 3)), nn.Conv2d(2, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.inner
        return second(nn.functional.conv2d(x, first[0].weight))


def masked() -> nn.Module:
    return prune.random_unstructured(nn.Conv2d(2, 4, 3), "weight", amount=0.5)


def replaced() -> nn.Module:
    layer = nn.Conv2d(2, 4, 3)
    layer.forward = lambda x: x
    return layer


def rotated() -> nn.Module:
    layer = nn.Conv2d(2, 4, 3)
    parametrize.register_parametrization(layer, "weight", Rotation(18))
    return layer


def quantised() -> nn.Module:
    from torch.ao.nn.quantized import Conv2d

    return Conv2d(2, 4, 3)


def whole_numbers() -> nn.Module:
    layer = nn.Conv2d(2, 4, 3)
    layer.weight = nn.Parameter(torch.ones(4, 2, 3, 3, dtype=torch.int8), requires_grad=False)
    return layer


class Labelled(Tensor):
    """A tensor with a class of its own."""


def of_a_class() -> nn.Module:
    layer = nn.Conv2d(2, 4, 3)
    layer.weight = nn.Parameter(torch.ones(4, 2, 3, 3).as_subclass(Labelled))
    return layer


computed = "has a weight that is computed, by a parametrization, a norm or a mask"
REFUSED: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), computed),
    (lambda: parametrizations.spectral_norm(nn.Conv2d(2, 4, 3)), computed),
    (lambda: nn.utils.spectral_norm(nn.Conv2d(2, 4, 3)), computed),
    (rotated, computed),
    (masked, computed),
    (lambda: nn.ConvTranspose2d(2, 4, 3), "is a transposed convolution, in which no patch meets a kernel"),
    (lambda: nn.LazyConv2d(4, 3), "is lazy and has no weight yet; run one batch through the model first"),
    (lambda: nn.LazyLinear(4), "is lazy and has no weight yet; run one batch through the model first"),
    (lambda: Own(2, 4, 3), "is a subclass of torch.nn.Conv2d, which may compute something else"),
    (lambda: nn.Conv2d(2, 4, 3, dtype=torch.complex64), "has a weight that is of dtype torch.complex64, not a plain "
     "floating-point parameter"),
    (whole_numbers, "has a weight that is of dtype torch.int8, not a plain floating-point parameter"),
    (of_a_class, "has a weight that is a Labelled, not a plain floating-point parameter"),
    (replaced, "has had its forward replaced on the object"),
    (lambda: nn.Conv2d(4, 4, 1, groups=4), "has neurons of single numbers, which have no direction"),
    (lambda: nn.Linear(1, 4), "has neurons of single numbers, which have no direction"),
    (lambda: nn.Embedding(4, 3), "is of a kind that has no decoupled form"),
    (lambda: nn.LSTM(3, 4), "is of a kind that has no decoupled form"),
    (lambda: nn.Bilinear(3, 4, 2), "is of a kind that has no decoupled form"),
    (lambda: DecoupledConv2d(2, 4, 3), "is decoupled already"),
    (lambda: SphereConv2d(2, 4, 3), "is decoupled already"),
    (lambda: MarginHead(4, 3), "is a head, which has margins of its own"),
    (quantised, "is quantised; convert before that"),
    (lambda: torch.jit.script(nn.Conv2d(2, 4, 3)), "is a ScriptModule; do this before it is scripted or traced"),
    (lambda: torch.compile(nn.Conv2d(2, 4, 3), backend="eager"), "is wrapped as OptimizedModule; do this before it is "
     "wrapped"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_what_cannot_be_converted_is_kept_and_says_why(make: Callable[[], nn.Module], reason: str) -> None:
    layer = make()
    for model, name in ((nn.Sequential(nn.Conv2d(1, 2, 3), layer, nn.Linear(4, 2)), "1"), (layer, None)):
        kept = reasons(model, include="*")
        assert kept == {name or next(iter(kept)): reason}
    words = rf"plan_conversion: layer '1' cannot be converted: it {reason[:20]}"
    with pytest.raises(ValueError, match=words):
        plan_conversion(nn.Sequential(nn.Conv2d(1, 2, 3), layer), include=["0", "1"])
    assert reasons(nn.Sequential(nn.Conv2d(1, 2, 3), layer), include="0", exclude="1") == {
        "1": "matches '1' of exclude"
    }


def test_layers_whose_weight_another_module_reads() -> None:
    kept = reasons(nn.TransformerEncoderLayer(8, 2), include="*")
    read = "which reads its weight without calling it"
    assert kept == {
        "self_attn": "is of a kind that has no decoupled form",
        "self_attn.out_proj": f"is held by MultiheadAttention, {read}",
        "linear1": f"is held by TransformerEncoderLayer, {read}",
        "linear2": f"is held by TransformerEncoderLayer, {read}",
    }
    # that of a decoder calls its layers
    assert converted(nn.TransformerDecoderLayer(8, 2), include="linear*") == ["linear1", "linear2"]
    model = nn.Sequential(Reader(), nn.Linear(4, 2))
    assert reasons(model, linear=True) == {"0.read": f"is held by Reader, {read}", "1": "is the output layer"}
    model = nn.Sequential(Helped(), nn.Linear(4, 2))
    assert reasons(model) == {"0.read": f"is held by Helped, {read}", "1": "is the output layer"}
    assert converted(model) == ["0.left"]
    model = nn.Sequential(Around(), nn.Linear(4, 2))
    assert reasons(model) == {"0.inner.0.0": f"is held by Around, {read}", "1": "is the output layer"}
    assert converted(model) == ["0.inner.1"]


@pytest.mark.usefixtures("alone")
def test_models_in_wrappers() -> None:
    wrapped = nn.parallel.DistributedDataParallel(network())
    reason = "is wrapped as DistributedDataParallel; do this before it is wrapped"
    assert reasons(wrapped) == {"DistributedDataParallel": reason}
    assert reasons(nn.Sequential(wrapped, nn.Linear(3, 2))) == {"0": reason, "1": "is the output layer"}
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    sharded = torch.distributed.tensor.distribute_module(nn.Conv2d(2, 4, 3), mesh)
    assert reasons(sharded) == {"Conv2d": "has a weight that is a DTensor, not a plain floating-point parameter"}
    assert converted(nn.DataParallel(network())) == ["module.0", "module.2.conv1", "module.2.conv2"]


# ------------------------------------------------------------------------------------------------------------ arguments


def test_wrong_arguments_are_refused_before_anything_is_looked_at() -> None:
    with pytest.raises(TypeError, match=r"plan_conversion: expected a module \(torch\.nn\.Module\), got str\."):
        plan_conversion("resnet")
    with pytest.raises(ValueError, match=r"unknown angle 'cosin'"):
        plan_conversion(network(), angle="cosin")
    with pytest.raises(ValueError, match=r"unknown magnitude 'spere'"):
        plan_conversion(network(), magnitude="spere")
    with pytest.raises(ValueError, match=r"unknown weighting 'lineal'"):
        plan_conversion(network(), weighting="lineal")


def test_models_of_another_library() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=10
    )
    model = transformers.ResNetForImageClassification(config)
    assert len(converted(model)) == 5
    shortcut, classifier = reasons(model).items()
    assert shortcut[0] == "resnet.encoder.stages.1.layers.0.shortcut.convolution"
    assert classifier == ("classifier.1", "is the output layer")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    kept = reasons(transformers.BertForMaskedLM(config), linear=True)
    assert [name for name in kept if "embeddings" not in name] == ["cls.predictions.decoder"]
    assert not isinstance(model, DecoupledLinear)


def test_a_module_that_holds_what_holds_it_is_met_once() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3)), nn.Flatten(), nn.Linear(8, 4))
    model[1].add_module("whole", model)
    assert [row.name for row in plan_conversion(model)][:2] == ["0", "1.0"]
