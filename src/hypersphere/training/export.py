# SPDX-License-Identifier: MIT
"""The model of a finished run as one file that runs elsewhere: which file, what is inside, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hypersphere import __version__
from hypersphere.checks import check_choice, lookup
from hypersphere.models import PixelClassifier, load_classifier
from hypersphere.models.export import OPSET, Exported, check_target, export_onnx, export_program
from hypersphere.training.folder import check_trained

__all__ = ["FORMATS", "PIXELS", "export_run", "lines"]

FORMATS: dict[str, str] = {
    "onnx": f"ONNX, opset {OPSET}: for onnxruntime and other engines; needs the extra `export`",
    "pt2": "a program of torch.export: for PyTorch, without this library",
}

PIXELS: dict[str, torch.dtype] = {"uint8": torch.uint8, "float32": torch.float32}
"""What a deployed model takes, by name: numbers 0..255 either way."""


def export_run(
    folder: Path,
    *,
    format: str = "onnx",
    out: Path | None = None,
    features: bool = False,
    pixels: str = "uint8",
    replace: bool = False,
) -> Exported:
    """Write the trained classifier of a run as ONNX or as an exported program.

    The model takes `pixels` (N, C, H, W) as they lie in an image file, 0..255, and subtracts the mean and divides by
    the deviation of the run itself. It gives `logits` (N, classes) and `features` (N, D), in float32 whatever precision
    the run was trained in. Class names, image shape and all that was done to the pixels are kept in the file.

    Args:
        folder: a finished run, or what `save_classifier` wrote.
        format: a key of `FORMATS`.
        out: the new file; None for model.onnx or model.pt2 in the folder.
        features: leave the head and its logits out.
        pixels: "uint8", which an image that was scaled or normalised before does not fit; or "float32", for pixels
            that come from a computation, such as resizing. Both are 0..255.
        replace: whether a file that is there already may be replaced.

    Returns:
        The file, and how far it is from the model.

    Raises:
        FileNotFoundError: if the folder holds no trained model.
        FileExistsError: if the file is there, and may not be replaced.
        PermissionError: if the file cannot be written.
        ImportError: if ONNX is asked for, and the extra `export` is not installed.
        ValueError: for an unknown format or kind of pixels, a damaged model, or a file that does not agree with it.
    """
    check_choice("export", "format", format, list(FORMATS))
    dtype = lookup("kind of pixels", pixels, PIXELS)
    target = out if out is not None else folder / f"model.{format}"
    check_trained("export", folder)
    check_target(target, replace=replace)
    classifier, spec = load_classifier(folder)
    data = spec["data"]
    model = PixelClassifier(classifier, data, head=not features)
    shape = (2, *data["image_shape"])
    example = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    write = export_onnx if format == "onnx" else export_program
    return write(model, example, target, metadata=_metadata(spec, pixels, model), replace=replace)


def lines(found: Exported) -> list[str]:
    """What was written, as a person reads it."""
    kind = f"onnx, opset {OPSET}" if found.format == "onnx" else "pt2, a program of torch.export"
    checked = "onnxruntime" if found.format == "onnx" else "the file"
    sizes = ", ".join(map(str, found.batch_sizes))
    size = f"{found.size / 2**20:.1f} MiB" if found.size >= 2**20 else f"{found.size / 2**10:.1f} KiB"
    return [
        f"model    {found.path} ({size}; {kind})",
        f"takes    {', '.join(found.inputs)}; gives {', '.join(found.outputs)}; class names and more in its metadata",
        f"checked  {checked} and the model differ by {found.difference:.2g} at most, {found.relative:.2g} of the "
        f"largest number, with {sizes} images",
    ]


def _metadata(spec: dict[str, Any], pixels: str, model: PixelClassifier) -> dict[str, Any]:
    """What goes in and what comes out, for whoever has the file alone."""
    data = spec["data"]
    channels = {1: "grey", 3: "red, green, blue"}.get(data["image_shape"][0], "as in training")
    reordered = "channels reversed, then " if model.channel_order == "bgr" else ""
    return {
        "hypersphere_version": __version__,
        "model": spec["model"]["name"],
        "data": data.get("name", ""),
        "class_names": data["class_names"],
        "image_shape": data["image_shape"],
        "pixels": f"{pixels}, 0..255, (N, channels, height, width); channels: {channels}",
        # what was done to images before, and whoever uses the file must repeat
        "preparation": {name: data.get(name) for name in ("size", "resize", "crop")},
        "normalization": f"inside the model: {reordered}(pixels - mean) / std",
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
    }
