# SPDX-License-Identifier: MIT
"""What moves in a margin head while it trains: lambda of the annealing, a number of the margin, the scale."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from hypersphere.checks import check_count, check_range, unknown_name
from hypersphere.functional.targets import checked_scale
from hypersphere.nn.head import MarginHead, bare_head

__all__ = ["LambdaAnnealing", "MarginSchedule", "ScaleSchedule", "Schedule"]


class Schedule(abc.ABC):
    """One number of a head as a function of the optimiser step; used like a learning rate schedule of torch.

    The head has the value of the first step from the construction on; call `step()` after each `optimizer.step()`.

    Args:
        head: a `MarginHead`, or one wrapped for several processes or compiled.

    Attributes:
        last_step: optimiser steps done, 0 at first. Nothing else is remembered: the value is a function of it.

    Raises:
        TypeError: if `head` is no `MarginHead`.

    Example:
        >>> head = MarginHead(8, 3, margin="sphereface")
        >>> schedule = LambdaAnnealing(head)
        >>> schedule.step()
        >>> schedule.last_step, round(schedule.current, 1)
        (1, 806.5)
    """

    def __init__(self, head: nn.Module) -> None:
        self.head: MarginHead = bare_head(type(self).__name__, head)
        self.last_step = 0

    @abc.abstractmethod
    def value(self, step: int) -> float:
        """The value that optimiser step `step` uses, counted from 1; a pure function."""

    @abc.abstractmethod
    def write(self, value: float) -> None:
        """Give the head this value."""

    @property
    def current(self) -> float:
        """The value that the next optimiser step uses."""
        return self.value(self.last_step + 1)

    def step(self) -> None:
        """Give the head the value of the next step; call it after each `optimizer.step()`."""
        self.last_step += 1
        self.write(self.current)

    def state_dict(self) -> dict[str, int]:
        """The number of steps done."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, with the arguments of this schedule.

        Raises:
            ValueError: if `state` is not what `state_dict` gives.
        """
        who = f"{type(self).__name__}.load_state_dict"
        if set(state) != {"last_step"}:
            raise ValueError(f"{who}: expected the key last_step alone, got {sorted(state)}.")
        check_count(who, "last_step", state["last_step"], low=0)
        self.last_step = int(state["last_step"])
        self.write(self.current)


class LambdaAnnealing(Schedule):
    r"""Annealing of a margin, from next to none of it to all, or almost all: lambda falls from step to step.

    .. math::
        \lambda(t) = \max\big(\lambda_{\min},\; \lambda_0 (1 + \gamma t)^{-p}\big)

    With lambda the own logit is (lambda · plain + margin) / (1 + lambda); it is written to `head.annealing`. Step 1
    uses t = start + 1, as in Caffe, where the count is raised before it is used.

    Published values:

    =============================  =====  ======  =====  =======
    network                        base   gamma   power  minimum
    =============================  =====  ======  =====  =======
    SphereFace, released (here)    1000   0.12    1      5
    L-Softmax on MNIST             1000   2.5e-5  35     0
    L-Softmax on CIFAR-10          1000   2e-5    45     0
    the same with moved images     1000   1e-5    45     0
    =============================  =====  ======  =====  =======

    Args:
        head: a `MarginHead`, or one wrapped for several processes or compiled.
        base: lambda_0 in [0, 1e9].
        gamma: in [0, 1e6], for each step.
        power: p in [0, 1e3].
        minimum: lambda_min in [0, 1e9].
        start: steps that count as done already, 0 or more; for a training that goes on from another.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if `head` is no `MarginHead`.

    Edge cases:
        The published minimum of 5 is reached at step 1659 and kept: from there on the own logit is 5/6 plain.

    Source:
        liu2016lsoftmax and liu2017sphereface, their released code, which counts forward passes.

    Example:
        >>> schedule = LambdaAnnealing(MarginHead(8, 3, margin="sphereface"))
        >>> [round(schedule.value(step), 1) for step in (1, 100, 2000)]
        [892.9, 76.9, 5.0]
    """

    def __init__(
        self,
        head: nn.Module,
        *,
        base: float = 1000.0,
        gamma: float = 0.12,
        power: float = 1.0,
        minimum: float = 5.0,
        start: int = 0,
    ) -> None:
        super().__init__(head)
        who = "LambdaAnnealing"
        check_range(who, "base", base, low=0.0, high=1e9)
        check_range(who, "gamma", gamma, low=0.0, high=1e6)
        check_range(who, "power", power, low=0.0, high=1e3)
        check_range(who, "minimum", minimum, low=0.0, high=1e9)
        check_count(who, "start", start, low=0)
        self.base = base
        self.gamma = gamma
        self.power = power
        self.minimum = minimum
        self.start = start
        self.write(self.current)

    def value(self, step: int) -> float:
        """Lambda of optimiser step `step`, counted from 1."""
        falling = self.base * math.pow(1 + self.gamma * (self.start + step), -self.power)
        return max(self.minimum, falling)

    def write(self, value: float) -> None:
        """Give the head this lambda."""
        self.head.annealing.fill_(value)


class MarginSchedule(Schedule):
    r"""A number of the margin that moves in a straight line: the first steps use `first`, the last ones `last`.

    The head's margin, which is frozen, is replaced by one with another number. The growing m = 1 + dm · (steps done) of
    SphereFace-R is argument="multiplier", first=1.0, last=1 + dm · steps.

    Args:
        head: a `MarginHead`, or one wrapped for several processes or compiled.
        argument: a number among the arguments of the head's margin, such as "multiplier", "angle" or "cosine".
        first: in the range of that argument, like `last`.
        last: is used from step begin + steps + 1 on.
        steps: from `first` to `last`, 1 or more.
        begin: steps before, which use `first`, 0 or more.

    Raises:
        ValueError: if the margin has no such number, or a number is out of range.
        TypeError: if `head` is no `MarginHead`.

    Edge cases:
        A compiled head is compiled again for each new margin; leave it out of what is compiled. (Lambda is a tensor,
        so that `LambdaAnnealing` asks for nothing.)

    Source:
        liu2022spherefacer, released code, for the multiplier.

    Example:
        >>> head = MarginHead(8, 3, margin="cosface")
        >>> schedule = MarginSchedule(head, "cosine", first=0.0, last=0.4, steps=4, begin=1)
        >>> [round(schedule.value(step), 2) for step in range(1, 8)], head.margin
        ([0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.4], CosFace(cosine=0.0))
    """

    def __init__(
        self, head: nn.Module, argument: str, *, first: float, last: float, steps: int, begin: int = 0
    ) -> None:
        super().__init__(head)
        self.argument = argument
        self.line = _Line("MarginSchedule", float(first), float(last), steps, begin)
        margin = self.head.margin
        numbers = [field.name for field in dataclasses.fields(margin) if str(field.type) in _NUMBERS]
        if argument not in numbers:
            name = type(margin).__name__
            if not numbers:
                raise ValueError(f"MarginSchedule: {name} has no number that could move.")
            raise ValueError(f"MarginSchedule: {unknown_name(f'number of {name}', argument, numbers)}.")
        for number in (first, last):
            # the margin itself says what is out of range
            dataclasses.replace(margin, **{argument: float(number)})
        self.write(self.current)

    def value(self, step: int) -> float:
        """The number that optimiser step `step` uses, counted from 1."""
        return self.line.at(step)

    def write(self, value: float) -> None:
        """Replace the head's margin by one with this number."""
        self.head.margin = dataclasses.replace(self.head.margin, **{self.argument: value})


class ScaleSchedule(Schedule):
    r"""A scale that moves in a straight line: the first steps use `first`, the last ones `last`.

    Args:
        head: a `MarginHead` whose scale is a number, or one wrapped for several processes or compiled.
        first: in [1e-6, 1e6], like `last`.
        last: is used from step begin + steps + 1 on.
        steps: from `first` to `last`, 1 or more.
        begin: steps before, which use `first`, 0 or more.

    Raises:
        ValueError: if the scale of the head is learned, or each feature's own length, or a number is out of range.
        TypeError: if `head` is no `MarginHead`.

    Edge cases:
        A compiled head is compiled again for each new scale; leave it out of what is compiled.

    Example:
        >>> head = MarginHead(8, 3, margin="cosface")
        >>> schedule = ScaleSchedule(head, first=16.0, last=64.0, steps=3)
        >>> schedule.step()
        >>> head.scale
        32.0
    """

    def __init__(self, head: nn.Module, *, first: float, last: float, steps: int, begin: int = 0) -> None:
        super().__init__(head)
        who = "ScaleSchedule"
        self.line = _Line(who, float(first), float(last), steps, begin)
        scale, margin = self.head.scale, self.head.margin
        published = margin.default_scale if scale == "default" else scale
        if isinstance(published, str) or not margin.normalized:
            kind = "that of inner products" if not margin.normalized else repr(published)
            raise ValueError(
                f"{who}: the scale of this head with {type(margin).__name__} is no number that could move, but {kind}. "
                "Give the head a numeric scale."
            )
        for number in (first, last):
            checked_scale(who, number, margin)
        self.write(self.current)

    def value(self, step: int) -> float:
        """The scale that optimiser step `step` uses, counted from 1."""
        return self.line.at(step)

    def write(self, value: float) -> None:
        """Give the head this scale."""
        self.head.scale = value


# how annotations of a margin's own numbers read, of classes with and without postponed annotations
_NUMBERS = ("float", "float | None", "<class 'float'>")


@dataclasses.dataclass(frozen=True)
class _Line:
    """From one number to another in equal steps."""

    who: str
    first: float
    last: float
    steps: int
    begin: int

    def __post_init__(self) -> None:
        check_count(self.who, "steps", self.steps, low=1)
        check_count(self.who, "begin", self.begin, low=0)

    def at(self, step: int) -> float:
        share = (step - 1 - self.begin) / self.steps
        if share >= 1:
            return self.last
        return self.first + (self.last - self.first) * max(0.0, share)
