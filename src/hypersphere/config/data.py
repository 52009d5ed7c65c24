# SPDX-License-Identifier: MIT
"""Which images a run sees, and how they are prepared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hypersphere.config.ranges import at_least, require
from hypersphere.config.sizes import sides, size_problem

__all__ = ["DataConfig"]


@dataclass
class DataConfig:
    """Which images, and what is done to them on the way to the model.

    Args:
        name: a name from `hypersphere list`, or a folder, a CSV file or a Parquet file.
        image_column: the column of images, or None to find it.
        label_column: the column of labels, or None to find it.
        size: None if all images have one height and width, or what each is brought to: the side of a square, or
            [height, width].
        resize: how: "crop" takes the largest part in the middle that has this aspect, "squeeze" the whole image,
            whatever its own.
        crop: None, or the size of the part that the model sees, one number or [height, width]: cut from a random place
            of a training image, and from the middle in evaluation.
        validation: fraction of train used as the validation split, in [0, 1).
        test_share: fraction of train used as the test split of a set that has none, in [0, 1). With 0 there is no test
            split, and no run can be evaluated.
        split_seed: picks the validation split, and the test split of a set that has none.
        min_images: classes (identities) with fewer images in train are left out, of every split; 0 leaves none out.
        pairs: the file of pairs for verification: a list as text, or a .bin file; None for `pairs.txt` beside the set.
        without_fold: None, or the fold of that list, 1 or more, whose people are left out of every split, so that a
            model can be verified on them.
        keep: class name or number -> fraction of its train images to keep.
        subsample_seed: picks those.
        sampler: which images make a batch: "shuffle" for all alike, "identity" for as many of each of some classes.
        images_per_identity: how many of each with "identity"; it divides the batch.
        padding: pixels around each training image before it is cut back to its size, or `crop`, at a random place.
        padding_mode: "zero" or "symmetric".
        flip: whether training images are mirrored at random.
        channel_order: in which the model sees the channels of colour images, "rgb" or, as models from Caffe do, "bgr".
            Whoever uses a model gives red, green, blue all the same.
        mean: subtracted from the pixels 0..255; one number, or one for each channel in that order.
        std: what they are then divided by.
        cache: whether decoded images are kept on disk for the next run.
        stream: decode images while training (True), before (False), or by their size (None).
        shuffle_buffer: images of a set that comes over the network among which the next one is drawn, 1 or more; held
            in memory as they are encoded.
    """

    name: str = "digits"
    image_column: str | None = None
    label_column: str | None = None
    size: int | list[int] | None = None
    resize: Literal["crop", "squeeze"] = "crop"
    crop: int | list[int] | None = None
    validation: float = 0.0
    test_share: float = 0.2
    split_seed: int = 0
    min_images: int = 0
    pairs: str | None = None
    without_fold: int | None = None
    keep: dict[str, float] = field(default_factory=dict)
    subsample_seed: int = 0
    sampler: Literal["shuffle", "identity"] = "shuffle"
    images_per_identity: int = 4
    padding: int = 0
    padding_mode: Literal["zero", "symmetric"] = "zero"
    flip: bool = False
    channel_order: Literal["rgb", "bgr"] = "rgb"
    mean: list[float] = field(default_factory=lambda: [127.5])
    std: list[float] = field(default_factory=lambda: [128.0])
    cache: bool = True
    stream: bool | None = None
    shuffle_buffer: int = 4096

    def __post_init__(self) -> None:
        given = {"size": self.size, "crop": self.crop}
        found = (size_problem(name, size) for name, size in given.items() if size is not None)
        wrong: list[str] = [sentence for sentence in found if sentence]
        require(
            "data",
            dict.fromkeys(wrong, False)
            | {
                f"validation must lie in [0, 1), got {self.validation:g}.": 0 <= self.validation < 1,
                f"test_share must lie in [0, 1), got {self.test_share:g}.": 0 <= self.test_share < 1,
                **at_least(0, min_images=self.min_images, padding=self.padding),
                f"crop must be no more than size, got {self.crop} of {self.size}.": bool(wrong) or self._crop_fits(),
                **at_least(
                    1,
                    without_fold=self.without_fold,
                    images_per_identity=self.images_per_identity,
                    shuffle_buffer=self.shuffle_buffer,
                ),
                f"every number of std must be above 0, got {self.std}.": min(self.std, default=0) > 0,
                f"every fraction of keep must lie in [0, 1], got {self.keep}.": all(
                    0 <= share <= 1 for share in self.keep.values()
                ),
            },
        )

    def _crop_fits(self) -> bool:
        """Whether the part is no larger than what it is cut from, as far as that is known here."""
        if self.size is None or self.crop is None:
            return True
        whole, part = sides("data", "size", self.size), sides("data", "crop", self.crop)
        return part[0] <= whole[0] and part[1] <= whole[1]
