# SPDX-License-Identifier: MIT
"""What an optimiser does for kernels of which only the direction counts: projection and weighted steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hypersphere.config import OptimizerConfig
from hypersphere.formulas.directions import widen, working_dtype
from hypersphere.functional.decoupled import unit_kernels
from hypersphere.nn.decoupled import DecoupledLayer

__all__ = ["AngularKernels", "angular_layers"]


def angular_layers(model: nn.Module) -> dict[str, DecoupledLayer]:
    """Name -> layer, where the output does not depend on the length of a trained kernel.

    Those are the decoupled layers without weighting; ordinary layers and the classifier are none.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, DecoupledLayer) and module.weighting is None and module.weight.requires_grad
    }


class AngularKernels:
    r"""Steps of an optimiser in which the length of angular kernels is looked after.

    The gradient of such a kernel w is at right angles to it and as long as 1 / |w|: each step makes it longer, and the
    next one turns it less. Two remedies, both off by default. Projection sets it to length 1 every so many steps.
    Weighted gradients multiply its gradient by |w|, so that its step does not depend on |w|. Adam, which divides by the
    size of past gradients, would undo that and takes such steps anyway; there the step itself is multiplied, so that
    kernels of every length turn alike:

    .. math::
        \text{SGD: } g \leftarrow \sqrt{|w|^2 + \epsilon}\; g \qquad
        \text{Adam, AdamW: } w \leftarrow w + \sqrt{|w|^2 + \epsilon}\; \Delta w

    with w and its length from before the step, epsilon that of the layer, and AdamW's own decay left out of
    :math:`\Delta w`.

    Args:
        model: its layers are found now.
        config: `project_every` and `weighted_gradients` are read.

    Raises:
        ValueError: if one of the two is asked for and the model has no such layer.

    Source:
        liu2018decoupled, sec. 3.4; projection as in its released code, every 100 steps, moments of the optimiser as
        they are. The code has no weighted gradients.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.layers = angular_layers(model)
        self.project_every = config.project_every
        self.weighted = config.weighted_gradients
        asked = {
            f"optimizer.project_every is {self.project_every}": self.project_every > 0,
            "optimizer.weighted_gradients is true": self.weighted,
        }
        for sentence, holds in asked.items():
            if holds and not self.layers:
                raise ValueError(
                    f"{sentence}, but the model has no trained kernels of which only the direction counts. Leave it "
                    "out, or choose a model of SphereConv or decoupled layers without weighting."
                )

    def step(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        """One step of `optimizer`, the `number`-th of the run, and the projection that is due after it."""
        if self.weighted:
            self._weighted_step(optimizer)
        else:
            optimizer.step()
        if self.project_every and number % self.project_every == 0:
            for layer in self.layers.values():
                layer.project_()

    @torch.no_grad()
    def _weighted_step(self, optimizer: torch.optim.Optimizer) -> None:
        # a kernel that several layers share has one gradient
        owners = {id(layer.weight): layer for layer in self.layers.values() if layer.weight.grad is not None}
        lengths = [(layer.weight, _lengths(layer)) for layer in owners.values()]
        if isinstance(optimizer, torch.optim.SGD):
            for weight, length in lengths:
                assert weight.grad is not None
                weight.grad.mul_(length)
            optimizer.step()
            return
        # what a kernel would be if it had no gradient
        kept = [weight * (1 - _own_decay(optimizer, weight)) for weight, _ in lengths]
        optimizer.step()
        for (weight, length), start in zip(lengths, kept, strict=True):
            weight.copy_(torch.addcmul(start, weight - start, length))


def _lengths(layer: DecoupledLayer) -> Tensor:
    """sqrt(|w|² + eps) of each kernel, in a shape that multiplies the weight."""
    weight = layer.weight.detach()
    lengths = unit_kernels(widen(weight, working_dtype(weight.dtype)), layer.eps)[1]
    return lengths.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))


def _own_decay(optimizer: torch.optim.Optimizer, weight: Tensor) -> float:
    """By what share a step shortens a parameter regardless of its gradient."""
    if not isinstance(optimizer, torch.optim.AdamW):
        return 0.0
    group = next(group for group in optimizer.param_groups if any(weight is one for one in group["params"]))
    return float(group["lr"]) * float(group["weight_decay"])
