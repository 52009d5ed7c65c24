# SPDX-License-Identifier: MIT
"""Keeps an optimiser from class vectors that no loss has met: neither momentum nor weight decay moves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hypersphere.nn.head import MarginHead, bare_head, class_rows

__all__ = ["leave_unsampled_rows"]


def leave_unsampled_rows(optimizer: torch.optim.Optimizer, head: nn.Module) -> Callable[[], None]:
    r"""Let an optimiser see, of a head with `sample_rate` below 1, only the vectors of classes that were sampled.

    In each `optimizer.step()` the rows of the weight that losses met since the step before, their gradient and their
    rows of the optimiser's state (momentum, Adam's moments) stand in for the whole of them, and are put back after it.
    All other rows stay as they are, bit for bit, and so does their state. The state is kept at full size, so that
    `optimizer.state_dict()` is that of an optimiser without this.

    Args:
        optimizer: any of torch that has the head's weight among its parameters and whose state is one number for each
            element, row, or parameter: SGD, Adam, AdamW, RMSprop, Adagrad, NAdam...
        head: a `MarginHead`, or one wrapped for several processes or compiled.

    Returns:
        Called, it ends this.

    Raises:
        ValueError: if the head's weight is none of the optimiser's parameters; by `optimizer.step(closure)`, which
            would give gradients of other classes.
        TypeError: if `head` is no `MarginHead`.

    Edge cases:
        Several losses before a step (accumulation): the classes of all of them. With a sample_rate of 1, or a head that
        has no gradient, nothing differs. State that a row has none of yet starts from 0, as at the first step of
        torch's optimisers (of SGD: unless it has dampening); the count of steps of Adam's kind is that of the whole
        weight. Steps that were left out, as `GradScaler` does, leave their classes to the next one.

    Source:
        an2021partial; the first of the two released versions.

    Example:
        >>> head = MarginHead(4, 100, margin="cosface", sample_rate=0.1)
        >>> before = head.weight.detach().clone()
        >>> optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        >>> _ = leave_unsampled_rows(optimizer, head)
        >>> head(torch.randn(3, 4), torch.tensor([5, 6, 7])).backward()
        >>> optimizer.step()
        >>> int((head.weight != before).any(dim=1).sum())
        10
    """
    swap = _Swap(optimizer, bare_head("leave_unsampled_rows", head))
    handles = [optimizer.register_step_pre_hook(swap.before), optimizer.register_step_post_hook(swap.after)]

    def end() -> None:
        for handle in handles:
            handle.remove()

    return end


class _Swap:
    """A block of rows in the place of a parameter, from before a step until after it."""

    def __init__(self, optimizer: torch.optim.Optimizer, head: MarginHead) -> None:
        self.head = head
        self.block: nn.Parameter | None = None
        self.rows: Tensor | None = None
        self._place(optimizer, head.weight)

    def before(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Put the block in."""
        # a step that failed half-way leaves its block behind
        self._restore(optimizer)
        weight, sampled = self.head.weight, self.head.sampled
        rows = None if sampled is None else class_rows(sampled.nonzero()[:, 0], self.head.margin.centers)
        if sampled is None or rows is None or not len(rows):
            return
        # torch hands over the optimiser itself as the first argument
        given = [value for value in (*args, kwargs.get("closure")) if value is not None and value is not optimizer]
        if given:
            raise ValueError(
                "leave_unsampled_rows: step(closure) computes gradients while it runs, when the classes that it will "
                "meet are not known. Call backward() first and step() without a closure."
            )
        if weight.grad is not None:
            group, number = self._place(optimizer, weight)
            self.rows = rows
            self.block = nn.Parameter(weight.detach()[rows])
            self.block.grad = weight.grad[rows]
            if weight in optimizer.state:
                optimizer.state[self.block] = {
                    name: value[rows] if _has_rows(value, weight) else value
                    for name, value in optimizer.state[weight].items()
                }
            group["params"][number] = self.block
        sampled.zero_()

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Put its rows back into the whole."""
        block, rows, weight = self.block, self.rows, self.head.weight
        if block is None or rows is None:
            return
        weight[rows] = block.detach()
        for name, value in optimizer.state.get(block, {}).items():
            state = optimizer.state[weight]
            if not _has_rows(value, block):
                state[name] = value
                continue
            whole = state.get(name)
            if whole is None:
                whole = state[name] = value.new_zeros(weight.shape[0], *value.shape[1:])
            whole[rows] = value
        self._restore(optimizer)

    def _restore(self, optimizer: torch.optim.Optimizer) -> None:
        """The whole parameter in its place again."""
        if self.block is not None:
            group, number = self._place(optimizer, self.block)
            group["params"][number] = self.head.weight
            optimizer.state.pop(self.block, None)
        self.block = self.rows = None

    def _place(self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> tuple[dict[str, Any], int]:
        for group in optimizer.param_groups:
            for number, other in enumerate(group["params"]):
                if other is parameter:
                    return group, number
        raise ValueError(
            "leave_unsampled_rows: the weight of the head is none of the optimiser's parameters. Make the optimiser of "
            "the parameters of this head first."
        )


def _has_rows(value: Any, parameter: Tensor) -> bool:
    """Whether a part of the state has a row for each row of the parameter."""
    return isinstance(value, Tensor) and value.ndim == parameter.ndim and value.shape[0] == parameter.shape[0]
