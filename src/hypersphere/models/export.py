# SPDX-License-Identifier: MIT
"""Models as files that run without this library: ONNX and PyTorch's exported programs, checked before they are kept."""

from __future__ import annotations

import importlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hypersphere import __version__
from hypersphere.checks import check_range
from hypersphere.files import write_atomically
from hypersphere.models.tracing import Found, Traced, quiet

__all__ = ["METADATA_FILE", "OPSET", "Exported", "check_target", "export_onnx", "export_program"]

OPSET = 18
"""The version of ONNX's operators that files are written in: the oldest that PyTorch's exporter writes directly."""

METADATA_FILE = "metadata.json"
"""What metadata is called inside an exported program, as `torch.export.load(..., extra_files=...)` asks for it."""

_LARGEST_ONNX = 2**31 - 2**20  # a protobuf message ends at 2 GiB


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far it is from the model.

    Args:
        path: of the file.
        format: "onnx" or "pt2".
        size: of the file, bytes.
        difference: largest absolute difference of any output number from the model's.
        relative: the same as a share of the largest number of that output.
        batch_sizes: that were compared, on random inputs but for the first, the example.
        inputs: their names.
        outputs: their names.
    """

    path: Path
    format: str
    size: int
    difference: float
    relative: float
    batch_sizes: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export_onnx(
    model: nn.Module | Callable[..., Any],
    example: Any,
    path: str | os.PathLike[str],
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    tolerance: float = 1e-5,
    replace: bool = False,
) -> Exported:
    """Write a model as ONNX, for onnxruntime and what else reads it.

    The model is traced by `torch.export` in evaluation mode on the CPU, with any number of samples: the first axis of
    every input and output is the batch. Before anything is written, onnxruntime runs the file on the example and on
    random inputs at two other batch sizes, and must agree with the model.

    Args:
        model: a module, a method of one (`classifier.features`), or a function of tensors; left as it is.
        example: the input, or a tuple of the positional ones; tensors, or tuples of tensors, that have the batch as
            their first axis. Random inputs have its mean and deviation, whole numbers its range (uint8: 0..255).
        path: of the new file; folders are made.
        input_names: one for each tensor; otherwise the names of the arguments.
        output_names: one for each tensor; otherwise the keys of a dictionary, or "output" and "output_1"...
        metadata: key -> plain value, kept in the file (`session.get_modelmeta().custom_metadata_map`): text as it is,
            all else as JSON.
        tolerance: largest difference allowed, as a share of the largest number of the output; a model of half precision
            needs a larger one.
        replace: whether a file that is there already may be replaced.

    Returns:
        What was written, and the differences that were measured.

    Raises:
        ImportError: if the extra `export` is not installed.
        FileExistsError: if the file is there, and may not be replaced.
        PermissionError: if the folder cannot be written to.
        ValueError: if names do not fit, an input has no batch, the model is too large for one file (2 GiB), or the
            file does not agree with the model. No file is left then.

    Edge cases:
        Parameters and statistics are constants of the file. A relative radius is in units of the running mean of the
        patch norm. An example of one sample is doubled while it is traced.

    Example:
        >>> import tempfile
        >>> from hypersphere.nn import SphereLinear
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = export_onnx(SphereLinear(4, 2), torch.randn(3, 4), Path(folder) / "model.onnx")
        >>> found.inputs, found.outputs, found.relative < 1e-5
        (('input',), ('output',), True)
    """
    who, target = "export_onnx", Path(path)
    check_range(who, "tolerance", tolerance, low=0.0, high=1.0)
    _require_onnx()
    check_target(target, replace=replace)
    traced = Traced(who, model, example)
    if any(tensor.dtype == torch.bfloat16 for tensor in pytree.tree_leaves(traced.example)):
        raise ValueError(f"{who}: onnxruntime takes no bfloat16 here. Export the model in float32 (model.float()).")
    inputs = _chosen_names(who, "input_names", input_names, traced.input_names)
    outputs = _chosen_names(who, "output_names", output_names, traced.output_names)
    proto = _onnx_model(traced, inputs, outputs, dict(metadata or {}))
    size = proto.ByteSize()
    if size > _LARGEST_ONNX:
        raise ValueError(f"{who}: the model takes {size / 2**30:.1f} GiB, one ONNX file holds 2. Use export_program.")
    content = proto.SerializeToString()
    found = traced.compare(_onnx_runner(content, inputs), tolerance)
    return _write(target, "onnx", content, found, inputs, outputs)


def export_program(
    model: nn.Module | Callable[..., Any],
    example: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    tolerance: float = 1e-5,
    replace: bool = False,
) -> Exported:
    """Write a model as an exported program of PyTorch (.pt2): `torch.export.load(path).module()(inputs)`.

    Whoever loads it needs torch, and nothing of this library. Checked before it is written as by `export_onnx`, whose
    arguments these are.

    Args:
        model: a module, a method of one, or a function of tensors.
        example: the input, or a tuple of the positional ones.
        path: of the new file.
        metadata: key -> plain value, kept as JSON in the file's `METADATA_FILE`.
        tolerance: largest difference allowed, as a share of the largest number of the output.
        replace: whether a file that is there already may be replaced.

    Returns:
        What was written, and the differences that were measured.

    Raises:
        FileExistsError: if the file is there, and may not be replaced.
        PermissionError: if the folder cannot be written to.
        ValueError: if an input has no batch, or the file does not agree with the model.

    Example:
        >>> import tempfile
        >>> from hypersphere.nn import SphereLinear
        >>> layer, rows = SphereLinear(4, 2), torch.randn(3, 4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = export_program(layer, rows, Path(folder) / "model.pt2")
        ...     loaded = torch.export.load(found.path).module()
        >>> torch.allclose(loaded(rows[:1]), layer(rows[:1]))
        True
    """
    who, target = "export_program", Path(path)
    check_range(who, "tolerance", tolerance, low=0.0, high=1.0)
    check_target(target, replace=replace)
    traced = Traced(who, model, example)
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(traced.program, buffer, extra_files={METADATA_FILE: json.dumps(dict(metadata or {}))})
        buffer.seek(0)
        loaded = torch.export.load(buffer).module()
    found = traced.compare(lambda arguments: pytree.tree_leaves(loaded(*arguments)), tolerance)
    return _write(target, "pt2", buffer.getvalue(), found, traced.input_names, traced.output_names)


def _chosen_names(who: str, argument: str, given: Sequence[str] | None, own: Sequence[str]) -> list[str]:
    if given is None:
        return list(own)
    if isinstance(given, str) or len(given) != len(own) or len(set(given)) != len(own):
        raise ValueError(f"{who}: {argument} must be {len(own)} different names, got {given!r}.")
    return list(given)


def _onnx_model(traced: Traced, inputs: list[str], outputs: list[str], metadata: Mapping[str, Any]) -> Any:
    """The protobuf of a model: no path of this machine in it, the batch called N."""
    with quiet():
        made = torch.onnx.export(
            traced.program,
            dynamo=True,
            verbose=False,
            optimize=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
        )
    assert made is not None
    _give_way(made.model.graph, {*inputs, *outputs})
    proto: Any = made.model_proto
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param == batch:
                side.dim_param = "N"
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
    del proto.graph.metadata_props[:]
    proto.producer_name, proto.producer_version = "hypersphere", __version__
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    return proto


def _give_way(graph: Any, taken: set[str]) -> None:
    """Rename what lies inside under the name of an input or output, as an output called "tanh" may meet."""
    doors = {id(value) for value in (*graph.inputs, *graph.outputs)}
    inside = [value for node in graph.all_nodes() for value in node.outputs]
    for value in (*inside, *graph.initializers.values()):
        if value.name in taken and id(value) not in doors:
            value.name = f"inside/{value.name}"


def _onnx_runner(content: bytes, names: list[str]) -> Callable[[tuple], list[Tensor]]:
    """What runs the file in onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(arguments: tuple) -> list[Tensor]:
        values = [tensor.numpy() for tensor in pytree.tree_leaves(arguments)]
        return [torch.from_numpy(found) for found in session.run(None, dict(zip(names, values, strict=True)))]

    return run


def _write(
    path: Path, format: str, content: bytes, found: Found, inputs: Sequence[str], outputs: Sequence[str]
) -> Exported:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    measured = (found.difference, found.relative, found.batch_sizes)
    return Exported(path, format, len(content), *measured, tuple(inputs), tuple(outputs))


def check_target(path: Path, *, replace: bool = False) -> None:
    """Refuse a file that is there already, or cannot be written, before time goes into what it shall hold.

    Raises:
        FileExistsError: if `path` is a folder, or a file that may not be replaced.
        PermissionError: if its folder cannot be made or written to.
    """
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder. Give the name of a file.")
    if path.exists() and not replace:
        raise FileExistsError(f"{path} exists already. Give another --out, or --force (replace=True) to replace it.")
    there = next(part for part in path.absolute().parents if part.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {there} is no folder one may write to. Give another --out.")


def _require_onnx() -> None:
    try:
        for package in ("onnx", "onnxruntime", "onnxscript"):
            importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(
            f'export to ONNX needs the package {error.name}: pip install "hypersphere[export]", or take the format '
            "pt2 (export_program), which needs torch alone."
        ) from error
