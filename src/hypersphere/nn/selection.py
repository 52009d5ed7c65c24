# SPDX-License-Identifier: MIT
"""Layers of any model as users speak of them: by patterns of names, and which of them is the output."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from hypersphere.checks import nearest

__all__ = ["NamePattern", "Patterns", "is_head", "is_quantised", "name_patterns", "output_layers", "unmatched"]


@dataclass(frozen=True)
class NamePattern:
    """A shell pattern of layer names, translated once: what translates it cannot be compiled with a model.

    Args:
        text: as the user wrote it.
        expression: what it means.
    """

    text: str
    expression: re.Pattern[str]

    def matches(self, *names: str) -> bool:
        """Whether it matches one of the names."""
        return any(self.expression.match(name) is not None for name in names)


Patterns = str | Sequence[str | NamePattern]


def name_patterns(given: Patterns | Iterable[str | NamePattern]) -> tuple[NamePattern, ...]:
    """Patterns ready to match; a single one may come without its brackets."""
    if isinstance(given, str):
        given = (given,)
    elif isinstance(given, Iterable):
        # once: of a generator there is no second time
        given = tuple(given)
    if not isinstance(given, tuple) or not all(isinstance(item, str | NamePattern) for item in given):
        raise TypeError(f"patterns of layer names: expected a string or a sequence of strings, got {given!r}.")
    return tuple(
        item if isinstance(item, NamePattern) else NamePattern(item, re.compile(fnmatch.translate(item)))
        for item in given
    )


def unmatched(argument: str, patterns: Sequence[NamePattern], names: Sequence[str]) -> list[str]:
    """A sentence for each pattern that matches nothing."""
    sentences = []
    for pattern in patterns:
        if not pattern.matches(*names):
            guess = nearest(pattern.text, names)
            hint = f" (did you mean {guess!r}?)" if guess else f" among {', '.join(names) or 'none'}"
            sentences.append(f"{argument} pattern {pattern.text!r} matches no layer{hint}.")
    return sentences


def is_head(layer: nn.Module) -> bool:
    """Whether a module is a classification head: it has `margin_logits` and a `weight`, as `nn.MarginHead` has."""
    return hasattr(type(layer), "margin_logits") and hasattr(layer, "weight")


def is_quantised(layer: nn.Module) -> bool:
    """Whether a module is one of torch's quantised layers, which give their weight by a method."""
    return "quantized" in type(layer).__module__ and callable(getattr(layer, "weight", None))


def output_layers(roots: Sequence[nn.Module], layers: Sequence[nn.Module]) -> set[int]:
    """Identities of the output layers among `layers`, where nobody has named them; empty if there is none.

    Every head; else what `get_classifier()` or `get_output_embeddings()` of a root gives; else the last `Linear`, the
    projections inside attention aside.
    """
    if heads := {id(layer) for layer in layers if is_head(layer)}:
        return heads
    for name in ("get_classifier", "get_output_embeddings"):
        methods = [getattr(root, name, None) for root in roots]
        given = [method() for method in methods if callable(method)]
        # a distilled model gives two
        several = [part for item in given for part in (item if isinstance(item, tuple | list) else (item,))]
        inside = {id(part) for item in several if isinstance(item, nn.Module) for part in item.modules()}
        if classifiers := inside & {id(layer) for layer in layers}:
            return classifiers
    linear = [
        id(layer)
        for layer in layers
        if (isinstance(layer, nn.Linear) and not isinstance(layer, NonDynamicallyQuantizableLinear))
        or (is_quantised(layer) and type(layer).__name__ == "Linear")
    ]
    return set(linear[-1:])
