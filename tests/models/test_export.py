# SPDX-License-Identifier: MIT
"""Exported files: what onnxruntime and torch make of them is what the model says, whatever operator is inside."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hypersphere.formulas.angles import ANGLES
from hypersphere.formulas.magnitudes import MAGNITUDES
from hypersphere.formulas.margins import MARGINS
from hypersphere.functional.decoupled import WEIGHTINGS
from hypersphere.models import MODELS, Exported, PixelClassifier, build, build_classifier, export_onnx, export_program
from hypersphere.models.export import METADATA_FILE, OPSET, check_target
from hypersphere.models.table import model_parameters
from hypersphere.models.tracing import Traced
from hypersphere.nn import (
    DecoupledConv1d,
    DecoupledConv2d,
    DecoupledConv3d,
    DecoupledLinear,
    MarginHead,
    SphereConv2d,
    SphereGRUCell,
    SphereLinear,
    SphereLSTMCell,
    SphereRNNCell,
)

TOLERANCE = 1e-5


class Several(nn.Module):
    """Layers side by side on the parts of their input that fit them, so that one file holds many."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What each makes of images (N, 4, 9, 9)."""
        return {name: layer(_fitting(layer, images)) for name, layer in self.layers.items()}


def _fitting(layer: nn.Module, images: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return images[:, :, 0]
    if isinstance(layer, nn.Conv1d):
        return images[:, :, 1]
    return images[:, :, None].expand(-1, -1, 3, -1, -1) if isinstance(layer, nn.Conv3d) else images


def stirred(model: nn.Module) -> nn.Module:
    """The model with learned numbers and running statistics that are not those of the start, in training mode."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        kind = name.split(".")[-1]
        if kind in ("raw_k", "raw_radius", "gain", "exponent", "running_norm", "running_var", "log_scale"):
            tensor.data.uniform_(0.4, 1.6, generator=generator)
        elif kind in ("running_mean", "bias"):
            tensor.data.normal_(0.0, 0.3, generator=generator)
    return model.train()


def sessions(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run_onnx(path: Path, *inputs: Tensor) -> list[np.ndarray]:
    session = sessions(path)
    names = [one.name for one in session.get_inputs()]
    return session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})


def agree(wanted: Tensor, found: np.ndarray | Tensor) -> None:
    found = torch.as_tensor(found)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert (found - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


def check_both(model: nn.Module, example: Any, folder: Path) -> None:
    """Both formats hold their own check; the loaded files are held against the model once more, for a batch of 7."""
    model = stirred(model)
    modes = [module.training for module in model.modules()]
    found = export_onnx(model, example, folder / "model.onnx", replace=True)
    program = export_program(model, example, folder / "model.pt2", replace=True)
    assert found.relative <= TOLERANCE
    assert program.relative <= TOLERANCE
    assert [module.training for module in model.modules()] == modes
    loaded = torch.export.load(program.path).module()
    arguments = example if isinstance(example, tuple) else (example,)
    generator = torch.Generator().manual_seed(3)
    more = torch.utils._pytree.tree_map(lambda x: torch.randn((7, *x.shape[1:]), generator=generator), arguments)
    with torch.no_grad():
        wanted = torch.utils._pytree.tree_leaves(copy.deepcopy(model).eval()(*more))
        from_program = torch.utils._pytree.tree_leaves(loaded(*more))
    from_onnx = run_onnx(found.path, *torch.utils._pytree.tree_leaves(more))
    for one, other, third in zip(wanted, from_onnx, from_program, strict=True):
        agree(one, other)
        agree(one, third)


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 4, 9, 9, generator=torch.Generator().manual_seed(1))


# one of every kind: dimensions, angles, magnitudes, weightings, gain, learned numbers, strides, dilations, groups
MIXED: dict[str, Callable[[], nn.Module]] = {
    "sphere": lambda: SphereConv2d(4, 6, 3, stride=2, padding=1, groups=2, angle="linear", gain=True),
    "ball": lambda: DecoupledConv2d(4, 6, 2, dilation=2, angle="sigmoid", magnitude="learned_ball"),
    "tanh": lambda: DecoupledConv1d(4, 6, 3, padding=1, angle="learned_sigmoid", magnitude="tanh", weighting="joint"),
    "dense": lambda: DecoupledLinear(9, 5, angle="square_cosine", magnitude="power", weighting="separate"),
}


@pytest.fixture(scope="module")
def mixed() -> nn.Module:
    torch.manual_seed(0)
    return stirred(Several(**{name: make() for name, make in MIXED.items()}))


@pytest.fixture(scope="module")
def onnx_file(mixed: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("onnx")
    known = {"name": "mixed", "classes": ["a", "b"]}
    return export_onnx(mixed, images(1), folder / "new" / "model.onnx", metadata=known)


@pytest.fixture(scope="module")
def program_file(mixed: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("pt2")
    return export_program(mixed, images(3), folder / "model.pt2", metadata={"classes": ["a", "b"]})


@pytest.mark.parametrize("count", [1, 2, 7])
def test_onnxruntime_agrees_for_any_batch(mixed: nn.Module, onnx_file: Exported, count: int) -> None:
    wanted = copy.deepcopy(mixed).eval()(images(count))
    for name, found in zip(onnx_file.outputs, run_onnx(onnx_file.path, images(count)), strict=True):
        agree(wanted[name].detach(), found)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_program_agrees_for_any_batch(mixed: nn.Module, program_file: Exported, count: int) -> None:
    wanted = copy.deepcopy(mixed).eval()(images(count))
    found = torch.export.load(program_file.path).module()(images(count))
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        agree(tensor.detach(), found[name].detach())


def test_what_was_measured_is_told(onnx_file: Exported, program_file: Exported) -> None:
    assert onnx_file.size == onnx_file.path.stat().st_size
    assert (onnx_file.format, program_file.format) == ("onnx", "pt2")
    # the batch of the example, then two others
    assert (onnx_file.batch_sizes, program_file.batch_sizes) == ((1, 3, 5), (3, 1, 4))
    # outputs are no longer than 1, so the share may be the larger of the two
    assert 0 < onnx_file.difference <= TOLERANCE
    assert 0 < onnx_file.relative <= TOLERANCE
    assert onnx_file.inputs == program_file.inputs == ("images",)
    assert onnx_file.outputs == program_file.outputs == tuple(MIXED)


def test_an_onnx_file_says_what_it_takes(onnx_file: Exported) -> None:
    model = onnx.load(onnx_file.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    # as docs/export.md says
    assert model.ir_version == 10
    assert {one.key: one.value for one in model.metadata_props} == {"name": "mixed", "classes": '["a", "b"]'}
    session = sessions(onnx_file.path)
    assert [(one.name, one.shape) for one in session.get_inputs()] == [("images", ["N", 4, 9, 9])]
    assert session.get_outputs()[0].shape == ["N", 6, 5, 5]
    assert not model.functions


def test_a_program_keeps_what_is_said_about_it(program_file: Exported) -> None:
    kept = {METADATA_FILE: ""}
    torch.export.load(program_file.path, extra_files=kept)
    assert json.loads(kept[METADATA_FILE]) == {"classes": ["a", "b"]}


def test_no_file_names_the_machine_or_holds_the_example(onnx_file: Exported, program_file: Exported) -> None:
    with zipfile.ZipFile(program_file.path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["onnx"] = onnx_file.path.read_bytes()
    source = str(Path(__file__).parents[2]).encode()
    assert [name for name, content in parts.items() if source in content or b".py" in content] == []
    assert [name for name, content in parts.items() if "sample_inputs" in name and content] == []


def test_a_relative_radius_is_in_units_of_the_running_norm(tmp_path: Path) -> None:
    layer = DecoupledLinear(3, 2, bias=False, magnitude="ball", eps=0.0)
    layer.running_norm.fill_(4.0)
    export_program(layer, torch.randn(2, 3), tmp_path / "a.pt2")
    program = torch.export.load(tmp_path / "a.pt2").module()
    # half of that radius, and far outside
    unit = nn.functional.normalize(layer.weight.detach()[:1])
    assert program(2 * unit)[0, 0].item() == pytest.approx(0.5, rel=1e-6)
    assert program(40 * unit)[0, 0].item() == pytest.approx(1.0, rel=1e-6)


def test_a_cell_takes_its_state(tmp_path: Path) -> None:
    cell = stirred(SphereLSTMCell(3, 4))
    rows, hidden, state = (torch.randn(2, size) for size in (3, 4, 4))
    found = export_program(cell, (rows, (hidden, state)), tmp_path / "cell.pt2")
    assert (found.inputs, found.outputs) == (("input", "hx", "hx_1"), ("output", "output_1"))
    here, there = cell(rows, (hidden, state)), torch.export.load(found.path).module()(rows, (hidden, state))
    agree(here[0].detach(), there[0].detach())
    agree(here[1].detach(), there[1].detach())


def test_methods_and_functions_are_exported_too(tmp_path: Path) -> None:
    spec = {
        "model": {"name": "digits-cnn", "arguments": {"width": 2, "operator": "sphere"}},
        "head": {},
        "data": {"class_names": ["a", "b"], "image_shape": [1, 8, 8]},
    }
    classifier = stirred(build_classifier(spec))
    pixels = torch.randn(2, 1, 8, 8)
    found = export_program(classifier.features, pixels, tmp_path / "method.pt2")
    assert found.inputs == ("images",)
    agree(classifier.eval().features(pixels).detach(), torch.export.load(found.path).module()(pixels).detach())
    found = export_program(lambda a, b: a @ b.mT, (torch.randn(2, 3, 4), torch.randn(2, 5, 4)), tmp_path / "f.pt2")
    assert found.inputs == ("a", "b")


def test_pixels_are_normalised_inside(tmp_path: Path) -> None:
    data = {"class_names": ["a", "b"], "image_shape": [3, 8, 8], "mean": [10.0, 20.0, 30.0], "std": [2.0, 4.0, 5.0]}
    spec = {"model": {"name": "cnn6", "arguments": {"base_width": 2}}, "head": {"margin": "normalized_softmax"}}
    classifier = stirred(build_classifier({**spec, "data": data})).eval()
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    normal = (pixels.float() - torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1)) / torch.tensor([2.0, 4.0, 5.0]).view(
        3, 1, 1
    )
    found = PixelClassifier(classifier, data)(pixels)
    assert torch.equal(found["logits"], classifier(normal))
    assert torch.equal(found["features"], classifier.features(normal))
    assert list(PixelClassifier(classifier, data, head=False)(pixels)) == ["features"]
    with pytest.raises(ValueError, match=r"^PixelClassifier: the data of the model lack mean, std\.$"):
        PixelClassifier(classifier, {"image_shape": [3, 8, 8]})
    with pytest.raises(ValueError, match=r"^PixelClassifier: expected std of one number or 3, got \[1\.0, 2\.0\]\.$"):
        PixelClassifier(classifier, data | {"std": [1.0, 2.0]})


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"exists already\. Give another --out, or --force \(replace=True\)"):
        export_program(SphereLinear(3, 2), torch.randn(2, 3), path)
    assert path.read_text() == "mine"
    export_program(SphereLinear(3, 2), torch.randn(2, 3), path, replace=True)
    assert zipfile.is_zipfile(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt2"]


def test_a_target_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "model.onnx")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match=r"is a folder\. Give the name of a file\."):
        check_target(tmp_path, replace=True)
    with pytest.raises(PermissionError, match=r"cannot be written: .*file is no folder one may write to"):
        check_target(tmp_path / "file" / "model.onnx")


def test_a_file_that_disagrees_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt2"

    class Other(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return rows + 1e-3

    wrong = torch.export.export(Other(), (torch.randn(2, 3),), dynamic_shapes=({0: torch.export.Dim("N", min=1)},))
    monkeypatch.setattr(torch.export, "load", lambda file: wrong)
    with pytest.raises(ValueError, match=r"^export_program: output 'output' of the file is 0\.001 off for 2 samples, "):
        export_program(nn.Identity(), torch.ones(2, 3), path)
    assert list(tmp_path.iterdir()) == []


def test_differences_count_as_shares_of_an_output() -> None:
    traced = Traced("me", nn.Identity(), torch.full((2, 3), 100.0))
    off = traced.compare(lambda arguments: [arguments[0] + 0.25], 0.1)
    assert off.difference == 0.25
    assert 1e-3 < off.relative <= 0.0026
    assert off.batch_sizes == (2, 1, 3)
    for wrong in (lambda x: x[:1, :2], lambda x: x.double(), lambda x: x * torch.nan):
        with pytest.raises(ValueError, match=r"where 0\.1 is allowed\. Nothing was written\.$"):
            traced.compare(lambda arguments, wrong=wrong: [wrong(arguments[0])], 0.1)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.tensor(1.0), r"got a tensor without axes\.$"),
        ([[1.0]], r"got float\.$"),
        ((torch.ones(2, 3), torch.ones(3, 3)), r"one batch as their first axis, got batches of \[2, 3\]\.$"),
        (torch.ones(0, 3), r"got batches of \[0\]\.$"),
    ],
)
def test_an_example_without_a_batch_is_refused(example: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Traced("me", lambda *tensors: tensors, example)


def test_wrong_arguments_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    layer, rows = SphereLinear(3, 2), torch.randn(2, 3)
    with pytest.raises(ValueError, match=r"^export_onnx: input_names must be 1 different names, got \['a', 'b'\]\.$"):
        export_onnx(layer, rows, path, input_names=["a", "b"])
    with pytest.raises(ValueError, match=r"^export_onnx: output_names must be 1 different names, got 'a'\.$"):
        export_onnx(layer, rows, path, output_names="a")
    with pytest.raises(ValueError, match=r"^export_onnx: onnxruntime takes no bfloat16 here\. Export the model in"):
        export_onnx(SphereLinear(3, 2).bfloat16(), rows.bfloat16(), path)
    with pytest.raises(ValueError, match=r"^export_program: tolerance must lie in \[0, 1\], got -1\.$"):
        export_program(layer, rows, path, tolerance=-1.0)
    with pytest.raises(TypeError, match=r"^me: expected a module or a function of tensors, got str\.$"):
        Traced("me", "model", rows)  # type: ignore[arg-type]


def test_what_to_install_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r'^export to ONNX needs the package onnxscript: pip install "hypersphere\[e'):
        export_onnx(SphereLinear(3, 2), torch.randn(2, 3), tmp_path / "a.onnx")


def test_outputs_may_be_called_as_something_inside(tmp_path: Path) -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(3))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            found = torch.tanh(x * self.weight)
            return {"tanh": found + 1, "mul": found, "weight": x * self.weight, "same": found, "input": x}

    found = export_onnx(Crossed(), torch.randn(2, 3), tmp_path / "a.onnx")
    assert found.outputs == ("tanh", "mul", "weight", "same", "input")
    tanh, mul, *_, same, given = run_onnx(found.path, torch.ones(4, 3))
    assert np.array_equal(tanh, mul + 1)
    assert np.array_equal(mul, same)
    assert np.array_equal(given, np.ones((4, 3)))


def test_a_model_beyond_one_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypersphere.models.export._LARGEST_ONNX", 100)
    with pytest.raises(ValueError, match=r"one ONNX file holds 2\. Use export_program\.$"):
        export_onnx(SphereLinear(3, 2), torch.randn(2, 3), tmp_path / "a.onnx")
    assert os.listdir(tmp_path) == []


# what follows takes minutes -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("angle", ANGLES)
def test_every_angle_with_every_magnitude(tmp_path: Path, angle: str) -> None:
    torch.manual_seed(0)
    place = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    layers = {name: DecoupledConv2d(4, 6, (2, 3), **place, angle=angle, magnitude=name) for name in MAGNITUDES}
    check_both(Several(**layers), images(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_weighting(tmp_path: Path, weighting: str) -> None:
    torch.manual_seed(0)
    options = {"angle": "learned_sigmoid", "weighting": weighting, "gain": True}
    kinds = ("sphere", "tanh", "learned_segmented", "log", "power")
    layers = {name: DecoupledConv2d(4, 6, 2, magnitude=name, **options) for name in kinds}
    check_both(Several(**layers), images(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("magnitude", ["sphere", "learned_segmented"])
def test_every_dimension(tmp_path: Path, magnitude: str) -> None:
    torch.manual_seed(0)
    options = {"angle": "linear", "magnitude": magnitude}
    absolute = dataclasses.replace(MAGNITUDES["ball"], relative=False)  # type: ignore[type-var]
    layers = {
        "one": DecoupledConv1d(4, 6, 3, padding="same", dilation=2, **options),
        "two": DecoupledConv2d(4, 6, 4, padding="same", padding_mode="reflect", **options),
        # a patch of one number is parallel to its kernel, where the linear angle makes much of a rounding error
        "point": DecoupledConv2d(4, 4, 1, bias=False, groups=4, magnitude=magnitude),
        "three": DecoupledConv3d(4, 6, (2, 3, 3), stride=(1, 2, 2), padding=1, groups=2, **options),
        "dense": DecoupledLinear(9, 5, **options),
        "exact": DecoupledConv2d(4, 6, 3, eps=0.0, **options),
        "absolute": DecoupledConv2d(4, 6, 3, magnitude=absolute),
    }
    check_both(Several(**layers), images(), tmp_path)


CELLS: dict[str, Callable[..., nn.Module]] = {
    "rnn": SphereRNNCell,
    "relu": lambda *sizes, **how: SphereRNNCell(*sizes, nonlinearity="relu", **how),
    "gru": SphereGRUCell,
    "lstm": SphereLSTMCell,
}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["sum", "concatenated"])
@pytest.mark.parametrize("kind", CELLS)
def test_every_cell(tmp_path: Path, kind: str, form: str) -> None:
    torch.manual_seed(0)
    cell = CELLS[kind](5, 4, angle="learned_sigmoid" if form == "sum" else "linear", form=form)
    rows, hidden = torch.randn(3, 5), torch.randn(3, 4)
    check_both(cell, (rows, (hidden, torch.randn(3, 4)) if kind == "lstm" else hidden), tmp_path)


def small(name: str, **arguments: Any) -> nn.Module:
    """A network of the table with every kind of layer it has, narrow and of few stages."""
    known = model_parameters(name)
    sizes = {"base_width": 4, "width": 4, "units": (1, 1, 1), "widths": (4, 6), "image_shape": (3, 16, 16)}
    if name == "digits-cnn":
        sizes["image_shape"] = (1, 8, 8)
    if name.startswith(("sphereface", "iresnet")):
        # sides that are halved twice, and not evenly; a stage without units where there may be one
        sizes |= {"units": (1, 2 if name.startswith("iresnet") else 0), "image_shape": (3, 14, 9), "num_features": 6}
    return build(name, **{key: value for key, value in {**sizes, **arguments}.items() if key in known})


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_network(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = small(name)
    check_both(model, torch.randn(2, *getattr(model, "image_shape", (1, 8, 8))), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["conv", "sphere", "decoupled"])
def test_a_network_of_every_operator(tmp_path: Path, operator: str) -> None:
    torch.manual_seed(0)
    own = {"decoupled": {"angle": "linear", "magnitude": "learned_tanh"}, "sphere": {"angle": "learned_sigmoid"}}
    model = small("cnn6", operator=operator, operator_arguments=own.get(operator), feature_norm=True)
    check_both(model, torch.randn(2, *model.image_shape), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["shortcut", "entry", "plain"])
def test_padding_as_tensorflow_has_it(tmp_path: Path, layout: str) -> None:
    torch.manual_seed(0)
    model = small("resnet34", tf_padding=True, layout=layout, activation="prelu", pool="full", operator="sphere")
    check_both(model, torch.randn(2, *model.image_shape), tmp_path)


class Heads(nn.Module):
    """Heads side by side, each on the same features; torch needs the square of their number to export them."""

    def __init__(self, kinds: Iterable[tuple[str, float | str]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        heads = {
            f"{name}_{scale}".replace(".", "_"): MarginHead(5, 4, margin=name, scale=scale) for name, scale in kinds
        }
        self.heads = nn.ModuleDict(heads)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Inference logits of each, of features (N, 5)."""
        return {name: head(features) for name, head in self.heads.items()}


SCALES = ("feature", "learned", 12.5)


def test_logits_of_every_head(tmp_path: Path) -> None:
    kinds = [*((name, "default") for name in MARGINS), *(("arcface", scale) for scale in SCALES)]
    check_both(Heads(kinds), torch.randn(3, 5), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_logits_of_every_head_with_every_scale(tmp_path: Path, scale: float | str) -> None:
    # one whose loss is weighed by its scale has one number
    kinds = [
        (name, scale)
        for name, margin in MARGINS.items()
        if margin.normalized and not (margin.weighs_loss and scale in ("feature", "learned"))
    ]
    check_both(Heads(kinds), torch.randn(3, 5), tmp_path)
