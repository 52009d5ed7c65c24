# SPDX-License-Identifier: MIT
"""Learning on the hypersphere: angular losses and operators, and the energy of directions, for any PyTorch model."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "angles",
    "convert",
    "diagnose",
    "functional",
    "magnitudes",
    "margins",
    "models",
    "nn",
    "param_groups",
    "plan_conversion",
    "regularizers",
    "revert",
    "schedules",
    "thomson",
]

if TYPE_CHECKING:
    from hypersphere import functional, models, nn, regularizers
    from hypersphere.analysis import diagnose, thomson
    from hypersphere.formulas import angles, magnitudes, margins
    from hypersphere.nn import schedules
    from hypersphere.nn.convert import convert, revert
    from hypersphere.nn.plan import plan_conversion
    from hypersphere.training.optimizer import param_groups

# where each name lies; imported when first asked for, so that `hypersphere --help` need not wait for torch
_PLACES = {
    "angles": "hypersphere.formulas.angles",
    "convert": "hypersphere.nn.convert:convert",
    "diagnose": "hypersphere.analysis:diagnose",
    "functional": "hypersphere.functional",
    "magnitudes": "hypersphere.formulas.magnitudes",
    "margins": "hypersphere.formulas.margins",
    "models": "hypersphere.models",
    "nn": "hypersphere.nn",
    "param_groups": "hypersphere.training.optimizer:param_groups",
    "plan_conversion": "hypersphere.nn.plan:plan_conversion",
    "regularizers": "hypersphere.regularizers",
    "revert": "hypersphere.nn.convert:revert",
    "schedules": "hypersphere.nn.schedules",
    "thomson": "hypersphere.analysis:thomson",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hypersphere' has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    found = importlib.import_module(module)
    found = getattr(found, attribute) if attribute else found
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
