# SPDX-License-Identifier: MIT
"""Every reason why tensors need plain operations is said, and an ordinary tensor has none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hypersphere.kernels.eligible import reasons_not


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # of torch's own forward-mode formulas
def test_why_it_cannot_run() -> None:
    class Named(Tensor):
        pass

    plain = torch.zeros(2, 2)
    assert reasons_not(plain, torch.nn.Parameter(plain)) == []
    assert reasons_not(plain.as_subclass(Named)) == ["it takes plain tensors, and was given a Named"]
    seen: list[list[str]] = []
    torch.func.grad(lambda x: (seen.append(reasons_not(plain)), x.sum())[1])(plain)
    assert seen == [["torch.func and forward-mode derivatives are for the plain form"]]
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(plain, plain)
        assert reasons_not(dual) == ["torch.func and forward-mode derivatives are for the plain form"]


def test_reasons_are_said() -> None:
    assert reasons_not(torch.zeros(2)) == []

    class Own(Tensor):
        pass

    assert reasons_not(torch.zeros(2), None, torch.zeros(2).as_subclass(Own)) == [
        "it takes plain tensors, and was given a Own"
    ]
