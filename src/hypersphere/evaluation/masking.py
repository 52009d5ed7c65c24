# SPDX-License-Identifier: MIT
"""Signs that a model only hides its gradient, in words: attacks that should be weaker but are stronger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Finding", "masking_findings"]

# by how much accuracies must differ to mean something
_SLACK, _MUCH = 0.01, 0.05
_MUCH_BY_CHANCE = 0.1


@dataclass(frozen=True)
class Finding:
    """One sign of masked gradients, there or not.

    Args:
        name: of the check.
        suspicious: whether the sign is there.
        text: what was found, with its numbers.
        values: these numbers by the names of the attacks, accuracies in [0, 1].
    """

    name: str
    suspicious: bool
    text: str
    values: dict[str, float] = field(default_factory=dict)


def masking_findings(
    robust: Mapping[str, float],
    *,
    num_samples: int,
    transferred: Mapping[str, float] | None = None,
    zero_gradients: float | None = None,
) -> list[Finding]:
    """Hold attacks against each other, as many of the checks as the measured attacks allow.

    Args:
        robust: accuracy under each attack in [0, 1], by the names of `hypersphere.evaluation.robustness.ATTACKS`.
        num_samples: behind each accuracy, >= 1; differences of up to two images say nothing.
        transferred: the same for attacks made on another model, by the name of the attack.
        zero_gradients: share of correctly classified images at which the gradient of the loss is exactly zero.

    Returns:
        One finding for each check, suspicious or not.

    Source:
        athalye2018obfuscated, section 3.1; the margin in place of the loss after carlini2017evaluating.

    Example:
        >>> [found] = masking_findings({"fgsm": 0.5, "bim": 0.9}, num_samples=1000)
        >>> found.suspicious, found.text
        (True, '10 steps leave more images right than one does: 90.0% under BIM, 50.0% under FGSM.')
    """
    slack = max(_SLACK, 2 / num_samples)
    found: list[Finding] = []

    def compare(name: str, weaker: str, stronger: str, over: float, bad: str, good: str) -> None:
        """`stronger` should leave fewer images right; `over`: how much better the other way round is suspicious."""
        if weaker in robust and stronger in robust:
            values = {weaker: robust[weaker], stronger: robust[stronger]}
            suspicious = values[stronger] > values[weaker] + over
            text = (bad if suspicious else good).format(weak=values[weaker], strong=values[stronger])
            found.append(Finding(name, suspicious, text, values))

    compare(
        "many steps against one", "fgsm", "bim", slack,
        "10 steps leave more images right than one does: {strong:.1%} under BIM, {weak:.1%} under FGSM.",
        "Many steps are no weaker than one, as it should be: {strong:.1%} under BIM, {weak:.1%} under FGSM.",
    )  # fmt: skip
    _random_start(robust, slack, found)
    for name, value in (transferred or {}).items():
        if name in robust:
            values = {name: robust[name], f"{name} of the source": value}
            suspicious = value < robust[name] - slack
            word = "stronger" if suspicious else "not stronger"
            end = "the own gradient leads astray" if suspicious else "as it should be"
            text = (
                f"{name.upper()} made on the source is {word} than on the model itself: {value:.1%} right against "
                f"{robust[name]:.1%}; {end}."
            )
            found.append(Finding(f"transfer of {name}", suspicious, text, values))
    if "unbounded" in robust:
        left = robust["unbounded"]
        # nothing is compared here, so chance has no say
        suspicious = left > _SLACK
        end = ", as it should be" if left == 0 else ", nearly none"
        if suspicious:
            end = "; an attack that may change everything should leave none"
        text = f"Without a bound on the change {left:.1%} of the images stay right{end}."
        found.append(Finding("unbounded attack", suspicious, text, {"unbounded": left}))
    _other_losses(robust, slack, found)
    compare(
        "large steps against small ones", "l2_large_steps", "l2", max(_MUCH, slack),
        "In L2 steps as long as the radius are much stronger than small ones: {weak:.1%} right against {strong:.1%}; "
        "the loss is too rough or too flat to follow.",
        "In L2 steps as long as the radius are not much stronger than small ones: {weak:.1%} right against "
        "{strong:.1%}.",
    )  # fmt: skip
    if zero_gradients is not None:
        suspicious = zero_gradients > _SLACK
        end = "; attacks along it stand still there" if suspicious else ""
        text = f"The gradient is exactly zero at {zero_gradients:.1%} of the correctly classified images{end}."
        found.append(Finding("vanished gradient", suspicious, text, {"share": zero_gradients}))
    return found


def _random_start(robust: Mapping[str, float], slack: float, found: list[Finding]) -> None:
    if "bim" not in robust or "pgd" not in robust:
        return
    fixed, drawn = robust["bim"], robust["pgd"]
    suspicious = drawn < fixed - max(_MUCH_BY_CHANCE, slack)
    word = "much stronger" if suspicious else "not much stronger"
    end = "; the gradient at the image itself misleads" if suspicious else ""
    text = (
        f"Random starts are {word} than a start at the image: {drawn:.1%} right under PGD, {fixed:.1%} under BIM{end}."
    )
    found.append(Finding("random starts", suspicious, text, {"bim": fixed, "pgd": drawn}))


def _other_losses(robust: Mapping[str, float], slack: float, found: list[Finding]) -> None:
    """The pair of attacks on either loss that are furthest apart."""
    pairs = [name for name in ("fgsm", "bim", "pgd") if name in robust and f"{name}_margin" in robust]
    if not pairs:
        return
    name = max(pairs, key=lambda one: robust[one] - robust[f"{one}_margin"])
    entropy, margin = robust[name], robust[f"{name}_margin"]
    suspicious = entropy - margin > max(_MUCH, slack)
    word = "much stronger" if suspicious else "not much stronger"
    end = "; cross-entropy is flat where the model is sure" if suspicious else ""
    text = (
        f"The margin as loss is {word} than cross-entropy: {margin:.1%} right against {entropy:.1%} under "
        f"{name.upper()}{end}."
    )
    found.append(Finding("margin against cross-entropy", suspicious, text, {name: entropy, f"{name}_margin": margin}))
