# SPDX-License-Identifier: MIT
"""Which parameters decay, and the optimiser of a config."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hypersphere.config import OptimizerConfig

__all__ = ["make_optimizer", "param_groups"]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)


def param_groups(
    model: nn.Module, *, weight_decay: float, decay_norms: bool = True, decay_biases: bool = True
) -> list[dict[str, Any]]:
    """Parameters in two groups for an optimiser: those that decay, and those that do not.

    Args:
        model: any module; shared parameters are counted once, frozen ones left out.
        weight_decay: of the first group.
        decay_norms: whether scales and shifts of normalisation layers belong to it (published recipes: yes).
        decay_biases: whether biases of all other layers do. Single numbers, such as a learned scale, never decay.

    Returns:
        Groups with the keys params, weight_decay and names; empty groups are left out.

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
            if isinstance(module, _NORMS):
                decays = decay_norms
            elif parameter.numel() == 1:
                decays = False
            else:
                decays = decay_biases or "bias" not in name
            groups[decays]["params"].append(parameter)
            groups[decays]["names"].append(f"{prefix}.{name}" if prefix else name)
    return [group for group in groups.values() if group["params"]]


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser that a config names, over the parameters of `model`.

    SGD and Adam add weight_decay · theta to the gradient, as the released code does; AdamW shrinks theta directly.
    """
    groups = param_groups(
        model,
        weight_decay=config.weight_decay,
        decay_norms=config.decay_norms,
        decay_biases=config.decay_biases,
    )
    for group in groups:
        del group["names"]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.rate, momentum=config.momentum, nesterov=config.nesterov)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.rate, betas=config.betas)
