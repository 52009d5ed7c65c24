# SPDX-License-Identifier: MIT
"""A model as `torch.export` traces it, for any number of samples, and how far what was made of it is from the model."""

from __future__ import annotations

import copy
import inspect
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ["Found", "Traced", "quiet"]


@dataclass(frozen=True)
class Found:
    """How far a file is from its model: the largest difference, as a share of that output, and for which batches."""

    difference: float
    relative: float
    batch_sizes: tuple[int, ...]


class Traced:
    """A model in evaluation mode on the CPU, its exported program for any number of samples, and its example.

    Args:
        who: speaks in errors.
        model: a module, a method of one, or a function of tensors; a copy of it is traced.
        example: the input, or a tuple of the positional ones.

    Raises:
        ValueError: if an input has no batch as its first axis.
        TypeError: if the model cannot be called.

    Attributes:
        program: the exported program.
        example: as a tuple, on the CPU.
        input_names: one for each tensor.
        output_names: likewise.
    """

    def __init__(self, who: str, model: nn.Module | Callable[..., Any], example: Any) -> None:
        self.who = who
        self.model = _as_module(who, model)
        arguments = example if isinstance(example, tuple) else (example,)
        self.example = pytree.tree_map(lambda leaf: _sample(who, leaf), arguments)
        sizes = sorted({len(tensor) for tensor in pytree.tree_leaves(self.example)})
        if len(sizes) != 1 or not sizes[0]:
            raise ValueError(f"{who}: expected inputs with one batch as their first axis, got batches of {sizes}.")
        (self.batch,) = sizes
        with torch.no_grad():
            outputs = self.model(*self.example)
        self.input_names = _input_names(model, self.example)
        names = outputs if isinstance(outputs, dict) else _numbered("output", len(pytree.tree_leaves(outputs)))
        self.output_names = tuple(names)
        # a trace of one sample would take that for a property of the model
        traced = self.example if self.batch > 1 else pytree.tree_map(lambda x: torch.cat((x, x)), self.example)
        axis = torch.export.Dim("N", min=1)
        shapes: Any = pytree.tree_map(lambda _: {0: axis}, traced)
        with quiet(), torch.no_grad():
            # what takes any number of arguments takes them as one tuple
            shapes = (shapes,) if isinstance(self.model, _Called) else shapes
            self.program = torch.export.export(self.model, traced, dynamic_shapes=shapes)
        for part in self.program.graph_module.modules():
            for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
                # names the files of this machine
                node.meta.pop("stack_trace", None)
        # it would go into the file
        self.program.example_inputs = None

    def compare(self, run: Callable[[tuple], Sequence[Tensor]], tolerance: float) -> Found:
        """How far `run` is from the model; ValueError if that is too far."""
        generator = torch.Generator().manual_seed(0)
        sizes = (self.batch, *((1, self.batch + 1) if self.batch > 1 else (3, 5)))
        largest = share = 0.0
        for number, size in enumerate(sizes):
            arguments = self._drawn(size, generator) if number else self.example
            with torch.no_grad():
                wanted = pytree.tree_leaves(self.model(*arguments))
            for name, here, there in zip(self.output_names, wanted, run(arguments), strict=True):
                difference, relative = _difference(here, there)
                if not relative <= tolerance:
                    raise ValueError(
                        f"{self.who}: output {name!r} of the file is {difference:.3g} off for {size} samples, "
                        f"{relative:.2g} of its largest number, where {tolerance:g} is allowed. Nothing was written."
                    )
                largest, share = max(largest, difference), max(share, relative)
        return Found(largest, share, sizes)

    def _drawn(self, size: int, generator: torch.Generator) -> tuple:
        drawn: tuple = pytree.tree_map(lambda like: _random(like, size, generator), self.example)
        return drawn


class _Called(nn.Module):
    """A model, or a function or a method of `owner`, called with several arguments."""

    def __init__(self, function: Callable[..., Any], owner: nn.Module | None = None) -> None:
        super().__init__()
        # parameters are found through the module that owns them
        self.owner = owner
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        """What it returns."""
        return self.function(*arguments)


def _as_module(who: str, model: nn.Module | Callable[..., Any]) -> nn.Module:
    """A copy on the CPU, in evaluation mode, without gradients."""
    if not callable(model):
        raise TypeError(f"{who}: expected a module or a function of tensors, got {type(model).__name__}.")
    made: Any = copy.deepcopy(model)
    variadic = any(one.kind == one.VAR_POSITIONAL for one in _parameters(model).values())
    if variadic or not isinstance(made, nn.Module):
        owner = made if isinstance(made, nn.Module) else getattr(made, "__self__", None)
        made = _Called(made, owner if isinstance(owner, nn.Module) else None)
    found: nn.Module = made.cpu().eval().requires_grad_(False)
    return found


def _sample(who: str, leaf: object) -> Tensor:
    """A tensor of the example, on the CPU."""
    if not isinstance(leaf, Tensor) or not leaf.ndim:
        found = "a tensor without axes" if isinstance(leaf, Tensor) else type(leaf).__name__
        raise ValueError(f"{who}: expected an example of tensors with the batch as their first axis, got {found}.")
    return leaf.detach().cpu()


def _random(like: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Numbers as those of `like`, for another batch size."""
    shape = (size, *like.shape[1:])
    if like.is_floating_point():
        std = like.double().std(correction=0).item()
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * (std or 1.0) + like.double().mean()
        return drawn.to(like.dtype)
    low, high = (0, 255) if like.dtype == torch.uint8 else (int(like.min()), int(like.max()))
    return torch.randint(low, high + 1, shape, generator=generator).to(like.dtype)


def _difference(here: Tensor, there: Tensor) -> tuple[float, float]:
    """Largest difference, and the same as a share of the largest number; infinite where shapes differ or it is NaN."""
    if here.shape != there.shape or here.dtype != there.dtype:
        return math.inf, math.inf
    here, there = here.double(), there.double()
    difference = (here - there).abs().max().item() if here.numel() else 0.0
    largest = here.abs().max().item() if here.numel() else 0.0
    return difference, difference / largest if largest else difference


def _parameters(model: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(model.forward if isinstance(model, nn.Module) else model).parameters


def _input_names(model: Callable[..., Any], example: tuple) -> tuple[str, ...]:
    """The names of the arguments, with a number behind where one holds several tensors."""
    known = [
        name
        for name, parameter in _parameters(model).items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    names: list[str] = []
    for number, argument in enumerate(example):
        name = known[number] if number < len(known) else f"input_{number}"
        names += [name] if isinstance(argument, Tensor) else _numbered(name, len(pytree.tree_leaves(argument)))
    return tuple(names)


def _numbered(name: str, count: int) -> list[str]:
    return [name if not number else f"{name}_{number}" for number in range(count)]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say about themselves and users can do nothing about."""
    # one line for each operator of torchvision, where that is not installed
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # PyTorch copies trees by a class that it deprecates itself
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        registration.setLevel(before)
