# SPDX-License-Identifier: MIT
"""Features against very many class vectors, a chunk of classes at a time: what a margin loss needs of their logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hypersphere.formulas.directions import lengths, unit_rows
from hypersphere.kernels.eligible import transformed

__all__ = [
    "Comparison",
    "Plan",
    "compare",
    "compare_plain",
    "inverse_norms",
    "own_places",
    "own_products",
]

# logits in a chunk: what a processor keeps in its cache; a device wants few launches
_CHUNK = {"cpu": 2**18}
_DEVICE_CHUNK = 2**25
# logits that are kept for the backward pass; of more, each chunk is computed a second time
_KEPT = 2**25
# numbers of a class matrix that are copied at a time while its norms are taken
_NORM_CHUNK = 2**18
# inverse norms up to which they are multiplied as they are by slopes, which long features make as large as 1e+24
_LARGEST_INVERSE = 1e10
# norms whose squares neither underflow nor overflow, in float32 too
_ORDINARY = (1e-12, 1e12)


class Comparison(NamedTuple):
    """What is known of N features after they met all classes.

    Args:
        own: inner product of each feature with the vector of its own class, (N,): the nearest of them where a class has
            several; 0 for a feature without a class.
        length: length of that vector, (N,); empty where the plan divides lengths out.
        reduced: of the logits of all other classes, (N,): ln sum exp, or sum softplus.
        total: weighted sum of the logits of all other classes, (N,); empty where no weights were given.
        nearest: the largest inner product with the direction of another class, (N,), a constant; -inf where there is
            none; empty where the plan is not measured.
        largest: the largest logit of another class, (N,), a constant; -inf where there is none.
    """

    own: Tensor
    length: Tensor
    reduced: Tensor
    total: Tensor
    nearest: Tensor
    largest: Tensor


@dataclass(frozen=True)
class Plan:
    """How logits come from inner products, and what is made of them.

    Args:
        normalize: divide the lengths of the class vectors out.
        centers: vectors of each class, side by side in the weight; the nearest counts.
        function: inner products (n, N), those with the own classes (1, N) as constants, and parameters, each broadcast
            with them -> logits; None for the same.
        reduction: "logsumexp" or "softplus".
        measured: whether `Comparison.nearest` is wanted.
    """

    normalize: bool = True
    centers: int = 1
    function: Callable[..., Tensor] | None = None
    reduction: str = "logsumexp"
    measured: bool = False

    def of_classes(self, products: Tensor, dim: int = 0) -> Tensor:
        """Inner products with the nearest vector of each class, of those with all, (n · centers, N) -> (n, N)."""
        return products.unflatten(dim, (-1, self.centers)).amax(dim=dim + 1) if self.centers > 1 else products

    def logits(self, products: Tensor, own: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        """Logits of inner products with classes, both (n, N), and with the own one, (N,)."""
        return products if self.function is None else self.function(products, own.detach()[None], *parameters)


def inverse_norms(weight: Tensor) -> Tensor:
    """1 / |w_j| as (C, 1), zero for a zero row; without a copy of the matrix: in one pass, or a few rows at a time."""
    if torch.compiler.is_compiling():
        # a compiler makes one loop of it by itself
        return unit_rows(weight)[1]
    if weight.device.type == "cpu" and not torch.is_grad_enabled() and not transformed():
        norms = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
        low, high = _ORDINARY
        if bool(((norms > low) & (norms < high)).all()):
            # one pass; without a graph, as the second derivative of a norm is another
            inverse: Tensor = norms.reciprocal_()
            return inverse
    size = _NORM_CHUNK if weight.device.type == "cpu" else 64 * _NORM_CHUNK
    rows = max(1, size // max(1, weight.shape[1]))
    return torch.cat([unit_rows(block)[1] for block in weight.split(rows)])


def compare(
    rows: Tensor,
    weight: Tensor,
    labels: Tensor,
    plan: Plan,
    *,
    parameters: tuple[Tensor, ...] = (),
    weights: Tensor | None = None,
) -> Comparison:
    """N features against C classes, without their N·C logits in memory where these are many.

    Args:
        rows: (N, D), float32 or float64.
        weight: (C · centers, D), the same dtype.
        labels: (N,) int64, the own class; negative for a feature that has none.
        plan: see there.
        parameters: of the plan's function, of shape () or (1, N), any of them differentiable.
        weights: (C,), of the total; None for no total.

    Returns:
        Differentiable in rows, weight and parameters. A chunk of logits is held at a time, and all of them for the
        backward pass up to 2^25; beyond, that pass computes each chunk a second time.
    """
    return Comparison(*_Compare.apply(rows, weight, labels, weights, plan, *parameters))


def compare_plain(
    rows: Tensor,
    weight: Tensor,
    labels: Tensor,
    plan: Plan,
    *,
    parameters: tuple[Tensor, ...] = (),
    weights: Tensor | None = None,
) -> Comparison:
    """What `compare` does, in plain operations: all logits in memory, differentiable any number of times."""
    products = (unit_rows(weight)[0] if plan.normalize else weight) @ rows.t()
    known = labels >= 0
    place = own_places(labels, plan.centers, lambda rows_of_own: products.detach().gather(0, rows_of_own[None])[0])
    own = products.gather(0, place.clamp_min(0)[None])[0] * known
    length = rows.new_empty(0) if plan.normalize else lengths(weight[place.clamp_min(0)]) * known
    near = plan.of_classes(products)
    logits = plan.logits(near, own, parameters)
    one = (torch.arange(near.shape[0], device=labels.device)[:, None] == labels) & known
    total = rows.new_zeros(0) if weights is None else weights @ logits.masked_fill(one, 0.0)
    masked = logits.masked_fill(one, -math.inf)
    reduced = -F.logsigmoid(-masked).sum(dim=0) if plan.reduction == "softplus" else masked.logsumexp(dim=0)
    nearest = rows.new_empty(0)
    if plan.measured:
        if not plan.normalize:
            near = plan.of_classes(unit_rows(weight.detach())[0] @ rows.detach().t())
        nearest = near.detach().masked_fill(one, -math.inf).amax(dim=0)
    return Comparison(own, length, reduced, total, nearest, masked.detach().amax(dim=0))


class _Compare(torch.autograd.Function):
    """Two passes over chunks of classes."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        labels: Tensor,
        weights: Tensor | None,
        plan: Plan,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        num_samples, centers = rows.shape[0], plan.centers
        num_classes = weight.shape[0] // centers
        norms = inverse_norms(weight) if plan.normalize or plan.measured else None
        # those by which products are divided, and those by which they are only to be measured
        inverse, norms = (norms, None) if plan.normalize else (None, norms)
        place = own_places(
            labels, centers, lambda rows_of_own: own_products(rows, weight[rows_of_own], normalize=plan.normalize)
        )
        mine = weight[place.clamp_min(0)]
        known = labels >= 0
        own = own_products(rows, mine, normalize=plan.normalize) * known
        length = rows.new_empty(0) if plan.normalize else lengths(mine) * known
        kept = None
        if any(ctx.needs_input_grad) and weight.shape[0] * num_samples <= _KEPT:
            kept = rows.new_empty(weight.shape[0], num_samples)
        largest = rows.new_full((num_samples,), -math.inf)
        nearest = largest.clone() if plan.measured else rows.new_empty(0)
        # without a function, the nearest class is that of the largest logit
        separate = plan.measured and not (plan.normalize and plan.function is None)
        reduced = rows.new_zeros(num_samples)
        total = rows.new_zeros(num_samples if weights is not None else 0)
        turned = rows.t()
        for first, last in _chunks(num_classes, num_samples, rows.device):
            start, stop = first * centers, last * centers
            products = _products(turned, weight, inverse, start, stop, kept)
            inside, position = _inside(labels, first, last)
            near = plan.of_classes(products)
            logits = plan.logits(near, own, parameters)
            if weights is not None:
                share = weights[first:last]
                here = logits.gather(0, position)[0] * share[position[0]]
                total += share @ logits - torch.where(inside, here, 0.0)
            if separate:
                cosines = near if norms is None else plan.of_classes(products * norms[start:stop])
                nearest = torch.maximum(nearest, _without(cosines, inside, position).amax(dim=0))
            if kept is not None and logits is products:
                # what is kept stays as it is
                logits = logits.clone()
            _replace_(logits, inside, position, -math.inf)
            higher = torch.maximum(largest, logits.amax(dim=0))
            if plan.reduction == "softplus":
                largest = higher
                reduced -= F.logsigmoid(-logits).sum(dim=0)
                continue
            # a class alone has no others: exp(-inf - -inf) is no number
            base = higher.masked_fill(higher == -math.inf, 0.0)
            reduced.mul_((largest - base).exp_()).add_(logits.sub_(base).exp_().sum(dim=0))
            largest = higher
        if plan.reduction == "logsumexp":
            base = largest.masked_fill(largest == -math.inf, 0.0)
            reduced = reduced.log_().add_(base)
        if plan.measured and not separate:
            nearest = largest.clone()
        ctx.plan = plan
        ctx.save_for_backward(rows, weight, labels, weights, place, inverse, reduced, own, kept, *parameters)
        ctx.mark_non_differentiable(nearest, largest)
        return own, length, reduced, total, nearest, largest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, labels, weights, place, inverse, reduced, own, kept, *parameters = ctx.saved_tensors
        plan, need = ctx.plan, ctx.needs_input_grad
        if torch.is_grad_enabled():
            # a second derivative is wanted: differentiate the plain expression instead
            found = compare_plain(rows, weight, labels, plan, parameters=tuple(parameters), weights=weights)
            wanted = [x for x, n in zip((rows, weight, labels, weights, plan, *parameters), need, strict=True) if n]
            used = [(output, grad) for output, grad in zip(found, grads, strict=False) if output.requires_grad]
            outputs, of_outputs = zip(*used, strict=True)
            second = iter(torch.autograd.grad(outputs, wanted, of_outputs, create_graph=True, allow_unused=True))
            return tuple(next(second) if n else None for n in need)
        of_own, of_length, of_reduced, of_total, _, _ = grads
        centers, num_samples = plan.centers, rows.shape[0]
        num_classes = weight.shape[0] // centers
        grad_rows = torch.zeros_like(rows) if need[0] else None
        grad_weight = torch.empty_like(weight) if need[1] else None
        of_parameters = [torch.zeros_like(p) if n else None for p, n in zip(parameters, need[5:], strict=True)]
        # 1 unless a class vector is very short: then gradients of features stay smaller until their sums are complete
        share = None if inverse is None else (_LARGEST_INVERSE / inverse.amax()).clamp_max(1.0)
        turned = rows.t()
        for first, last in _chunks(num_classes, num_samples, rows.device):
            start, stop = first * centers, last * centers
            products = _products(turned, weight, inverse, start, stop, None) if kept is None else kept[start:stop]
            inside, position = _inside(labels, first, last)

            def of_logits(logits: Tensor, first: int = first, last: int = last) -> Tensor:
                slope = logits.sigmoid() if plan.reduction == "softplus" else (logits - reduced).exp_()
                slope.mul_(of_reduced)
                if weights is not None:
                    slope.addcmul_(weights[first:last, None], of_total)
                return slope

            if plan.function is None and centers == 1:
                slope = of_logits(products)
                _replace_(slope, inside, position, 0.0)
            else:
                slope = _through(plan, products, own, parameters, of_logits, (inside, position), of_parameters)
            holds, where = _inside(place, start, stop)
            _replace_(slope, holds, where, of_own, add=True)
            if grad_weight is not None:
                chunk = grad_weight[start:stop]
                torch.mm(slope, rows, out=chunk)
                if inverse is not None:
                    # g^T x / |w| - w (sum g z) / |w|², in an order in which norms of 1e-20 overflow nowhere
                    factor = inverse[start:stop]
                    radial = (slope * products).sum(dim=1, keepdim=True).mul_(factor)
                    chunk.addcmul_(weight[start:stop], radial, value=-1).mul_(factor)
            if grad_rows is not None:
                if inverse is not None:
                    slope.mul_(inverse[start:stop] * share)
                grad_rows.addmm_(slope.t(), weight[start:stop])
        if grad_rows is not None and share is not None:
            grad_rows.div_(share)
        if grad_weight is not None and not plan.normalize:
            unit = unit_rows(weight[place.clamp_min(0)])[0]
            grad_weight.index_add_(0, place.clamp_min(0), unit * (of_length * (place >= 0))[:, None])
        return grad_rows, grad_weight, None, None, None, *of_parameters


def own_places(labels: Tensor, centers: int, products: Callable[[Tensor], Tensor]) -> Tensor:
    """The row of the weight that stands for each sample's own class, (N,): the nearest of several; -1 for no class.

    Args:
        labels: (N,), negative for no class.
        centers: vectors of each class, side by side.
        products: rows of the weight, (N,) -> inner product of each feature with its own, (N,).
    """
    if centers == 1:
        return labels
    first = labels.clamp_min(0) * centers
    # one at a time: (N, centers, D) numbers may be many
    found = torch.stack([products(first + center) for center in range(centers)])
    return torch.where(labels >= 0, first + found.argmax(dim=0), -1)


def own_products(rows: Tensor, vectors: Tensor, *, normalize: bool) -> Tensor:
    """Inner products (N,) of N features with one class vector each, or with its direction."""
    products = (vectors * rows).sum(dim=1)
    return products * unit_rows(vectors)[1][:, 0] if normalize else products


def _chunks(num_classes: int, num_samples: int, device: torch.device) -> list[tuple[int, int]]:
    size = max(1, _CHUNK.get(device.type, _DEVICE_CHUNK) // max(1, num_samples))
    return [(first, min(first + size, num_classes)) for first in range(0, num_classes, size)]


def _products(
    turned: Tensor, weight: Tensor, inverse: Tensor | None, start: int, stop: int, kept: Tensor | None
) -> Tensor:
    """Inner products (n, N) of some class vectors with all features, in the memory that keeps them if there is any."""
    if kept is not None:
        products = torch.mm(weight[start:stop], turned, out=kept[start:stop])
    else:
        products = weight[start:stop] @ turned
    return products if inverse is None else products.mul_(inverse[start:stop])


def _inside(labels: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Which labels lie in [first, last), (N,), and their places there, (1, N), in range for all."""
    inside = (labels >= first) & (labels < last)
    return inside, (labels - first).clamp(0, last - first - 1)[None]


def _replace_(values: Tensor, inside: Tensor, position: Tensor, new: float | Tensor, *, add: bool = False) -> None:
    """Put one number of each column in its place, in the columns that have one there."""
    present = values.gather(0, position)
    values.scatter_(0, position, torch.where(inside, present + new if add else new, present))


def _without(values: Tensor, inside: Tensor, position: Tensor) -> Tensor:
    """A copy with -inf in the place of each column that has one there."""
    return values.scatter(0, position, torch.where(inside, -math.inf, values.gather(0, position)))


def _through(
    plan: Plan,
    products: Tensor,
    own: Tensor,
    parameters: list[Tensor],
    of_logits: Callable[[Tensor], Tensor],
    place: tuple[Tensor, Tensor],
    of_parameters: list[Tensor | None],
) -> Tensor:
    """The gradient of inner products through the plan's function, and those of its parameters, which are added up."""
    with torch.enable_grad():
        inputs = [products.detach().requires_grad_()]
        given = [p.detach().requires_grad_(of is not None) for p, of in zip(parameters, of_parameters, strict=True)]
        inputs += [p for p in given if p.requires_grad]
        logits = plan.logits(plan.of_classes(inputs[0]), own, given)
    slope = of_logits(logits.detach())
    _replace_(slope, *place, 0.0)
    of_products, *rest = torch.autograd.grad(logits, inputs, slope)
    for known, more in zip([of for of in of_parameters if of is not None], rest, strict=True):
        known += more
    # autograd may hand out memory that it shares
    return of_products.clone() if of_products is slope else of_products
