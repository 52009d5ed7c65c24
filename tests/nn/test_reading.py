# SPDX-License-Identifier: MIT
"""Which weights the code of a module takes without calling the layer, in every way that people write it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypersphere.nn.reading import reads_weight

HERE = sys.modules[__name__]


def layers() -> nn.ModuleList:
    return nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.called = nn.Linear(2, 2), nn.Linear(2, 2)
        self.many = layers()
        self.inner = nn.Sequential(nn.Linear(2, 2))
        self.named = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})


class Direct(Base):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), self.read.weight)


class Alias(Base):
    def forward(self, x: Tensor) -> Tensor:
        layer, other = self.read, self.called
        return F.linear(other(x), layer.weight)


class OfAWeight(Base):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), (layer := self.read).weight, layer.bias)


class Looked(Base):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), getattr(getattr(self, "read"), "weight"))  # noqa: B009


class Property(Base):
    @property
    def matrix(self) -> Tensor:
        return self.read.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.called(x) @ self.matrix


class Cached(Base):
    @functools.cached_property
    def matrix(self) -> Tensor:
        return self.read.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.called(x) @ self.matrix


class Static(Base):
    @staticmethod
    def product(x: Tensor, layer: nn.Linear) -> Tensor:
        return F.linear(x, layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.called(self.product(x, self.read))


class Handed(Base):
    def product(self, x: Tensor, layer: nn.Linear) -> Tensor:
        return F.linear(x, layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.called(self.product(x, layer=self.read))


class OfTheParent(Direct):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def decorated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(function)
    def wrapper(*args: object) -> Tensor:
        return function(*args)

    return wrapper


class Decorated(Direct):
    # compared with a function, it is neither true nor false
    table = torch.zeros(2)

    @decorated
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Passed(Base):
    def step(self, x: Tensor) -> Tensor:
        return F.linear(x, self.read.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.step, self.called(x), use_reentrant=False)


def outside(x: Tensor, layer: nn.Linear) -> Tensor:
    return F.linear(x, layer.weight)


class Outside(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.called(outside(x, self.read))


class Either(Base):
    def forward(self, x: Tensor) -> Tensor:
        layer = self.read if x.ndim else None
        return F.linear(self.called(x), (layer or self.read).weight)


class GivenByAProperty(Base):
    @property
    def layer(self) -> nn.Linear:
        return self.read

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), self.layer.weight)


class GivenByAMethod(Base):
    def pick(self, x: Tensor) -> nn.Linear:
        if x.ndim:
            return self.read
        return self.pick(x[None])

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), self.pick(x).weight)


class InAFunction(Base):
    def forward(self, x: Tensor) -> Tensor:
        def product(of: Tensor, layer: nn.Linear) -> Tensor:
            return F.linear(of, layer.weight)

        return self.called(product(x, self.read))


class InALambda(Base):
    def forward(self, x: Tensor) -> Tensor:
        product = lambda of, layer: F.linear(of, layer.weight)  # noqa: E731
        return self.called(product(x, self.read))


class IsALambda(Base):
    forward = lambda self, x: F.linear(self.called(x), self.read.weight)  # noqa: E731


class OfAParentByName(Direct):
    def forward(self, x: Tensor) -> Tensor:
        return Direct.forward(self, x)


class OfAModule(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.called(HERE.outside(x, self.read))


class Collected(Base):
    def forward(self, x: Tensor) -> Tensor:
        layers = []
        layers.append(self.read)
        return F.linear(self.called(x), layers[0].weight)


class Added(Base):
    def forward(self, x: Tensor) -> Tensor:
        layers: list[nn.Linear] = []
        layers += [self.read]
        return F.linear(self.called(x), layers[-1].weight)


class Extended(Base):
    def forward(self, x: Tensor) -> Tensor:
        layers: list[nn.Linear] = []
        layers.extend([self.read])
        return F.linear(self.called(x), layers[-1].weight)


class ByAWord(Base):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), {"a": self.read}["a"].weight)


class PassedWithALayer(Base):
    def step(self, layer: nn.Linear, x: Tensor) -> Tensor:
        return F.linear(x, layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.step, self.read, self.called(x), use_reentrant=False)


@pytest.mark.parametrize(
    "kind",
    [
        Direct,
        Alias,
        OfAWeight,
        Looked,
        Property,
        Cached,
        Static,
        Handed,
        OfTheParent,
        OfAParentByName,
        Decorated,
        Passed,
        PassedWithALayer,
        Outside,
        OfAModule,
        Either,
        GivenByAProperty,
        GivenByAMethod,
        InAFunction,
        InALambda,
        IsALambda,
        Collected,
        Added,
        Extended,
        ByAWord,
    ],
)
def test_a_weight_that_is_taken(kind: type[Base]) -> None:
    model = kind()
    model(torch.ones(2, 2))
    assert reads_weight(model, ("read",))
    assert not reads_weight(model, ("called",))


class Subscript(Base):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.called(x), self.many[0].weight)


class Loop(Base):
    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.many):
            x = F.linear(x, layer.weight) * number
        return self.called(x)


class Comprehension(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.called(x) @ sum(layer.weight for layer in self.many[1:])


class Zip(Base):
    def forward(self, x: Tensor) -> Tensor:
        for layer, other in zip(self.many, [self.called, self.called], strict=True):
            x = F.linear(other(x), layer.weight)
        return x


class Nested(Base):
    def forward(self, x: Tensor) -> Tensor:
        for _, (layer, other) in enumerate(zip(self.many, (self.called, self.called), strict=True)):
            x = F.linear(other(x), layer.weight)
        return x


class Pair(Base):
    def forward(self, x: Tensor) -> Tensor:
        pairs = list(enumerate(self.many))
        return F.linear(self.called(x), pairs[0][1].weight)


class Unpacked(Base):
    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.many
        return F.linear(self.called(first(x)), others[0].weight)


class First(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.called(x) @ next(iter(self.many)).weight


class WrittenOut(Base):
    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self.many) + [self.read]:  # noqa: RUF005
            x = F.linear(x, layer.weight)
        return self.called(x)


class Mapped(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.called(x) @ sum(map(lambda layer: layer.weight, self.many))  # noqa: C417


class Gathered(Base):
    def forward(self, x: Tensor) -> Tensor:
        layers = [layer for layer in self.many if layer is not self.called]
        return F.linear(self.called(x), layers[0].weight)


OF_MANY = [Subscript, Loop, Comprehension, Zip, Nested, Pair, Unpacked, First, WrittenOut, Mapped, Gathered]


@pytest.mark.parametrize("kind", OF_MANY)
def test_one_of_many(kind: type[Base]) -> None:
    model = kind()
    model(torch.ones(2, 2))
    assert reads_weight(model, ("many", "0"))
    assert reads_weight(model, ("many", "1"))
    assert not reads_weight(model, ("called",))


class Deep(Base):
    def forward(self, x: Tensor) -> Tensor:
        first = self.inner[0]
        return F.linear(x, first.weight) + F.linear(x, self.named["a"].weight)


class Everywhere(Base):
    def forward(self, x: Tensor) -> Tensor:
        for _, module in self.named.named_modules():
            if isinstance(module, nn.Linear):
                x = F.linear(x, module.weight)
        return x


def test_layers_further_inside() -> None:
    deep, everywhere = Deep(), Everywhere()
    for model in (deep, everywhere):
        model(torch.ones(2, 2))
    assert reads_weight(deep, ("inner", "0"))
    assert reads_weight(deep, ("named", "a"))
    assert not reads_weight(deep, ("named", "b"))
    assert reads_weight(everywhere, ("named", "b"))
    assert reads_weight(everywhere, ("named", "b", "c"))
    assert not reads_weight(everywhere, ("inner", "0"))


class Tree(nn.Module):
    """Walks down both of its sides and reads what it finds: paths double with every step."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.left, self.right = (Tree(depth - 1) if depth else None for _ in range(2))

    def walk(self, node: Tree, x: Tensor) -> Tensor:
        for side in (node.left, node.right):
            x = self.walk(side, x) if side is not None else x
        return F.linear(x, node.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.walk(self, x)


def test_recursion_ends() -> None:
    model = Tree(2)
    model(torch.ones(2, 2))
    assert reads_weight(model, ("layer",))
    assert reads_weight(model, ("left", "right", "layer"))


class Asking(Base):
    """Asks for what a weight is, calls itself, and draws weights where no forward pass comes by."""

    def reset(self) -> None:
        nn.init.zeros_(self.read.weight)

    def forward(self, x: Tensor, depth: int = 2) -> Tensor:
        if self.read.weight is None or isinstance(self.read.weight, str):
            return x
        if getattr(self.read, "weight", None) is not None and x.ndim > 9:
            nn.init.ones_(self.read.weight)
        x = getattr(self, f"call{'ed'}")(x.to(self.read.weight).type_as(self.read.weight))
        x = x.to(self.read.weight.dtype).reshape(-1, self.read.weight.shape[1])
        for layer in (self.read, *self.many):
            x = layer(x)
        return self.forward(x, depth - 1) if depth else x


class Compiled(nn.Module):
    forward = torch.add


class Partial(nn.Module):
    forward = functools.partialmethod(torch.add)


Executed: dict[str, type[nn.Module]] = {}
exec("class Found(Module):\n def forward(self, x):\n  return x @ self.read.weight", {"Module": nn.Module}, Executed)


def test_what_does_not_count() -> None:
    model = Asking()
    model(torch.ones(2, 2))
    assert not reads_weight(model, ("read",))
    assert not reads_weight(model, ("called",))
    assert not reads_weight(model, ("many", "0"))
    # nobody knows what happens in there
    assert not reads_weight(torch.jit.ScriptModule(), ("read",))
    for kind in (Compiled, Partial, Executed["Found"]):
        assert not reads_weight(kind(), ("read",))


def test_layers_of_torch() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 1, enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2), 1)
    assert not reads_weight(encoder, ("layers", "0", "linear1"))
    assert reads_weight(encoder.layers[0], ("linear1",))
    assert not reads_weight(decoder, ("layers", "0", "linear1"))
    assert not reads_weight(decoder.layers[0], ("linear1",))
    assert reads_weight(decoder.layers[0].self_attn, ("out_proj",))
