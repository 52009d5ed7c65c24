# SPDX-License-Identifier: MIT
"""Which parameters decay, and the optimiser of a config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from hypersphere.config import OptimizerConfig
from hypersphere.nn.decoupled import DecoupledLayer
from hypersphere.nn.recurrent import SphereGRUCell, SphereLSTMCell, SphereRNNCell

__all__ = ["RATE_FACTOR", "make_optimizer", "param_groups", "set_rate"]

RATE_FACTOR = "rate_factor"
"""What a group of an optimiser calls its rate in units of that of the run; a group without it has the same."""

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
    decay_slopes: bool = False,
    rate: float | None = None,
    bias_rate_factor: float = 1.0,
) -> list[dict[str, Any]]:
    """Parameters in groups for an optimiser: those that decay, and those that do not, biases by themselves if asked.

    Each kind of parameter has a rule: weights decay; scales, shifts, biases, slopes of PReLU and the kernels of angular
    layers as the arguments say; single numbers, such as a learned scale, and the learned k, radius and exponent of a
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
        decay_slopes: whether slopes of PReLU do, also where a layer has a single one (published: by liu2017sphereface
            yes, by liu2018decoupled no).
        rate: learning rate of the optimiser, above 0, for the rate of biases; needed where they have their own.
        bias_rate_factor: rate of the biases that `decay_biases` speaks of in units of `rate`, above 0; published 2 by
            liu2017sphereface, whose biases do not decay.

    Returns:
        Groups with the keys params, weight_decay and names; those of biases with a rate of their own have lr and
        rate_factor too. Empty groups are left out.

    Raises:
        ValueError: if a factor other than 1 has no rate to multiply, or one of them is not above 0.

    Source:
        liu2017sphereface, liu2017spherenet and liu2018decoupled, their released code.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> [group["names"] for group in param_groups(model, weight_decay=0.1, decay_norms=False)]
        [['0.weight', '0.bias'], ['1.weight', '1.bias']]
    """
    groups: dict[tuple[bool, bool], dict[str, Any]] = {
        (own, decays): {"params": [], "weight_decay": weight_decay if decays else 0.0, "names": []}
        for own in (False, True)
        for decays in (True, False)
    }
    for decays in (True, False) if bias_rate_factor != 1.0 else ():
        groups[True, decays] |= _own_rate(rate, bias_rate_factor)
    rules = _Rules(decay_norms, decay_biases, decay_angular, decay_slopes)
    seen: set[int] = set()
    owners = _owners(model)
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            layer, tensor = owners.get(module, (module, name))
            own = bias_rate_factor != 1.0 and _is_bias(layer, tensor)
            group = groups[own, _decays(layer, tensor, parameter, rules)]
            group["params"].append(parameter)
            group["names"].append(f"{prefix}.{name}" if prefix else name)
    return [group for group in groups.values() if group["params"]]


@dataclass(frozen=True)
class _Rules:
    """Which kinds decay."""

    norms: bool
    biases: bool
    angular: bool
    slopes: bool


def _owners(model: nn.Module) -> dict[nn.Module, tuple[nn.Module, str]]:
    """The layer, and the name of its tensor, that each module of a parametrization computes."""
    found: dict[nn.Module, tuple[nn.Module, str]] = {}
    for layer in filter(parametrize.is_parametrized, model.modules()):
        lists: Any = layer.parametrizations
        found |= {part: (layer, name) for name, parts in lists.items() for part in parts.modules()}
    return found


def _decays(module: nn.Module, name: str, parameter: nn.Parameter, rules: _Rules) -> bool:
    """Whether a parameter of its own of `module` decays."""
    if isinstance(module, _NORMS):
        return rules.norms
    if isinstance(module, nn.PReLU):
        return rules.slopes
    if isinstance(module, (DecoupledLayer, *_CELLS)):
        if name in _SHAPES:
            return False
        if name == "gain":
            return rules.norms
        if name.startswith("weight"):
            return rules.angular or getattr(module, "weighting", None) is not None
    return parameter.numel() > 1 and (rules.biases or not _is_bias(module, name))


def _is_bias(module: nn.Module, name: str) -> bool:
    """Whether a parameter of its own of `module` is one of those that shift what a layer gives, norms left out."""
    return "bias" in name and not isinstance(module, _NORMS)


def _own_rate(rate: float | None, factor: float) -> dict[str, float]:
    """What the groups of biases have besides."""
    if rate is None:
        raise ValueError(f"param_groups: bias_rate_factor is {factor:g}, but there is no rate to multiply. Give rate.")
    if not (rate > 0 and factor > 0):
        raise ValueError(f"param_groups: rate and bias_rate_factor must be above 0, got {rate:g} and {factor:g}.")
    return {"lr": rate * factor, RATE_FACTOR: factor}


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
        decay_slopes=config.decay_slopes,
        rate=config.rate,
        bias_rate_factor=config.bias_rate_factor,
    )
    for group in groups:
        del group["names"]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.rate, momentum=config.momentum, nesterov=config.nesterov)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.rate, betas=config.betas)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of an optimiser this rate, or its own multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)
