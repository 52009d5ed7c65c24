# SPDX-License-Identifier: MIT
"""Whether tensors can go where the chain rule is written by hand, or need plain operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["batched", "reasons_not", "transformed"]


def transformed() -> bool:
    """Whether torch.func looks on."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def batched(tensor: Tensor) -> bool:
    """Whether it stands for many: by torch.func.vmap, or by `is_grads_batched` of torch.autograd.grad."""
    return transformed() or torch._C._functorch.is_legacy_batchedtensor(tensor)


def reasons_not(*tensors: Tensor | None) -> list[str]:
    """Every reason why only plain operations can take these tensors here; empty when there is none."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return ["a compiler or exporter fuses the plain form itself"]
    given = [tensor for tensor in tensors if tensor is not None]
    others = {type(tensor).__name__ for tensor in given if type(tensor) not in (Tensor, torch.nn.Parameter)}
    reasons = [f"it takes plain tensors, and was given a {name}" for name in sorted(others)]
    if transformed() or any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in given):
        reasons.append("torch.func and forward-mode derivatives are for the plain form")
    return reasons
