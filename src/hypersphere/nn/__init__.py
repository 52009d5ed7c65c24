# SPDX-License-Identifier: MIT
"""Modules that behave as those of `torch.nn`: decoupled layers and cells, the margin head, a rotation of neurons."""

from hypersphere.nn.class_energy import ClassEnergy
from hypersphere.nn.decoupled import (
    DecoupledConv1d,
    DecoupledConv2d,
    DecoupledConv3d,
    DecoupledLinear,
)
from hypersphere.nn.head import MarginHead
from hypersphere.nn.recurrent import SphereGRUCell, SphereLSTMCell, SphereRNNCell
from hypersphere.nn.rotation import Rotation
from hypersphere.nn.sampled_rows import leave_unsampled_rows
from hypersphere.nn.sphere import SphereConv1d, SphereConv2d, SphereConv3d, SphereLinear

__all__ = [
    "ClassEnergy",
    "DecoupledConv1d",
    "DecoupledConv2d",
    "DecoupledConv3d",
    "DecoupledLinear",
    "MarginHead",
    "Rotation",
    "SphereConv1d",
    "SphereConv2d",
    "SphereConv3d",
    "SphereGRUCell",
    "SphereLSTMCell",
    "SphereLinear",
    "SphereRNNCell",
    "leave_unsampled_rows",
]
