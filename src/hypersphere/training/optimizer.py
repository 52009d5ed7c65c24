# SPDX-License-Identifier: MIT
"""Which parameters decay, and the optimiser of a config."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hypersphere.config import OptimizerConfig
from hypersphere.nn.decoupled import DecoupledLayer
from hypersphere.nn.recurrent import SphereGRUCell, SphereLSTMCell, SphereRNNCell

__all__ = ["make_optimizer", "param_groups"]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)
_CELLS = (SphereGRUCell, SphereLSTMCell, SphereRNNCell)
# of an operator: shapes of its angle and of its magnitude, which decay would pull to nothing in particular
_SHAPES = ("raw_k", "raw_radius", "exponent")


def param_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    decay_norms: bool = True,
    decay_biases: bool = True,
    decay_angular: bool = False,
) -> list[dict[str, Any]]:
    """Parameters in two groups for an optimiser: those that decay, and those that do not.

    Each kind of parameter has a rule: weights decay; scales, shifts, biases and the kernels of angular layers as the
    arguments say; single numbers, such as a learned scale, slopes of PReLU, and the learned k, radius and exponent of a
    decoupled layer never.

    Args:
        model: any module; shared parameters are counted once, frozen ones left out.
        weight_decay: of the first group.
        decay_norms: whether scales and shifts of normalisation layers belong to it (published recipes: yes), with the
            gain of a decoupled layer.
        decay_biases: whether biases of all other layers do.
        decay_angular: whether kernels do of which only the direction counts, those of a decoupled layer without
            weighting and of a recurrent cell (published recipes: no). Decay cannot simplify what such a layer computes;
            it shortens the kernels, and so raises the rate at which they turn.

    Returns:
        Groups with the keys params, weight_decay and names; empty groups are left out.

    Source:
        liu2017spherenet and liu2018decoupled, their released code.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> [group["names"] for group in param_groups(model, weight_decay=0.1, decay_norms=False)]
        [['0.weight', '0.bias'], ['1.weight', '1.bias']]
    """
    groups: dict[bool, dict[str, Any]] = {
        True: {"params": [], "weight_decay": weight_decay, "names": []},
        False: {"params": [], "weight_decay": 0.0, "names": []},
    }
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            decays = _decays(module, name, parameter, norms=decay_norms, biases=decay_biases, angular=decay_angular)
            groups[decays]["params"].append(parameter)
            groups[decays]["names"].append(f"{prefix}.{name}" if prefix else name)
    return [group for group in groups.values() if group["params"]]


def _decays(module: nn.Module, name: str, parameter: nn.Parameter, *, norms: bool, biases: bool, angular: bool) -> bool:
    """Whether a parameter of its own of `module` decays."""
    if isinstance(module, _NORMS):
        return norms
    if isinstance(module, nn.PReLU):
        return False
    if isinstance(module, (DecoupledLayer, *_CELLS)):
        if name in _SHAPES:
            return False
        if name == "gain":
            return norms
        if name.startswith("weight"):
            return angular or getattr(module, "weighting", None) is not None
    return parameter.numel() > 1 and (biases or "bias" not in name)


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser that a config names, over the parameters of `model`.

    SGD and Adam add weight_decay · theta to the gradient, as the released code does; AdamW shrinks theta directly.
    """
    groups = param_groups(
        model,
        weight_decay=config.weight_decay,
        decay_norms=config.decay_norms,
        decay_biases=config.decay_biases,
        decay_angular=config.decay_angular,
    )
    for group in groups:
        del group["names"]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.rate, momentum=config.momentum, nesterov=config.nesterov)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.rate, betas=config.betas)
