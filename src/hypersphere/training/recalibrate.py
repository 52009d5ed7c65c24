# SPDX-License-Identifier: MIT
"""Running statistics measured again with the weights as they are, in place of an average that lags behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hypersphere.nn.decoupled import DecoupledLayer
from hypersphere.nn.modes import evaluation_mode

__all__ = ["check_statistics", "recalibrate", "running_statistics"]

_BUFFERS = ("running_mean", "running_var", "running_norm")


def running_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Name -> buffer of every statistic that `recalibrate` measures: those of batch normalisation and of radii.

    Example:
        >>> list(running_statistics(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
        ['1.running_mean', '1.running_var']
    """
    return {
        f"{prefix}.{name}" if prefix else name: buffer
        for prefix, layer in _layers(model).items()
        for name in _BUFFERS
        if (buffer := getattr(layer, name, None)) is not None
    }


def check_statistics(model: nn.Module) -> None:
    """Raise ValueError unless some layer keeps running statistics."""
    if not _layers(model):
        raise ValueError(
            "recalibrate: no layer of the model keeps running statistics, so there is nothing to measure again. Leave "
            "it out."
        )


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> list[str]:
    """Measure the running statistics of `model` anew, as the plain average over batches.

    Statistics kept while training are an average over past steps, whose weights were others; where these still moved
    fast, such a model does worse in evaluation than its weights can. Layers of batch normalisation and decoupled
    layers with a relative radius count their batches from nothing here, each batch as much as any other; no parameter
    changes.

    Args:
        model: changed in place. Its other layers run as in evaluation, dropout off; all modes and momenta are
            afterwards as they were.
        batches: of inputs as in training, one after the other through `model(batch)`; more are better, and their
            size is best that of training.

    Returns:
        Names of the layers whose statistics are new. One that no batch went through, or that does not learn them,
        keeps its own.

    Raises:
        ValueError: if no layer keeps running statistics, or there are no batches. Whatever is raised, also by the
            model, the statistics are then as before.

    Edge cases:
        `num_batches_tracked` is afterwards the number of batches measured. Variances are averages of those within a
        batch, as in training. A layer that is used twice in a pass counts twice.

    Example:
        >>> norm = nn.BatchNorm1d(1)
        >>> recalibrate(nn.Sequential(norm), [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])])
        ['0']
        >>> norm.running_mean, norm.running_var, norm.num_batches_tracked
        (tensor([3.]), tensor([2.]), tensor(2))
    """
    check_statistics(model)
    layers = _layers(model)
    before = {name: _state(layer) for name, layer in layers.items()}
    done = False
    # compiled code would be made again for each momentum
    with ExitStack() as after, torch.compiler.set_stance("force_eager"), evaluation_mode(model):
        for layer in layers.values():
            after.callback(_count_from_nothing(layer))
        try:
            for batch in batches:
                model(batch)
                done = True
            if not done:
                raise ValueError("recalibrate: there are no batches to measure on.")
        except BaseException:
            for name, layer in layers.items():
                _restore(layer, before[name])
            raise
    unused = [name for name, layer in layers.items() if not int(_state(layer)["num_batches_tracked"])]
    for name in unused:
        _restore(layers[name], before[name])
    return [name for name in layers if name not in unused]


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if _keeps_statistics(module)}


def _keeps_statistics(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.running_mean is not None
    return isinstance(module, DecoupledLayer) and module.running_norm is not None


def _state(layer: nn.Module) -> dict[str, Tensor]:
    """A copy of everything that a layer counts."""
    buffers = {name: getattr(layer, name, None) for name in (*_BUFFERS, "num_batches_tracked")}
    return {name: buffer.clone() for name, buffer in buffers.items() if buffer is not None}


def _restore(layer: nn.Module, state: dict[str, Tensor]) -> None:
    for name, value in state.items():
        getattr(layer, name).copy_(value)


def _count_from_nothing(layer: nn.Module) -> Callable[[], None]:
    """Put a layer in training with a plain average over batches; the result puts its momentum back."""
    layer.train()
    if not isinstance(layer, DecoupledLayer):
        assert isinstance(layer, nn.modules.batchnorm._BatchNorm)
        momentum = layer.momentum
        layer.reset_running_stats()
        # what PyTorch calls a cumulative average
        layer.momentum = None
        return lambda: setattr(layer, "momentum", momentum)
    magnitude: Any = layer.magnitude
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.zero_()
    # its average is plain until 1 / momentum batches
    layer.magnitude = replace(magnitude, momentum=0.0)
    return lambda: setattr(layer, "magnitude", magnitude)
