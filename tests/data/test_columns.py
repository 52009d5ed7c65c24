# SPDX-License-Identifier: MIT
"""The right columns are found, and a wrong one is told with those that are there."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest

from hypersphere.data.columns import pick_column, typed_columns

FILE = Path("some.parquet")
IMAGE = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
WHOLE, TEXT, REAL = pyarrow.int64(), pyarrow.string(), pyarrow.float32()


@pytest.mark.parametrize(
    ("types", "found"),
    [
        ({"image": IMAGE, "label": WHOLE}, ("image", "label")),
        ({"img": IMAGE, "fine_label": WHOLE, "coarse_label": WHOLE}, ("img", "fine_label")),
        ({"scan": IMAGE, "identity": TEXT, "note": TEXT}, ("scan", "identity")),
        ({"jpg": pyarrow.binary(), "class": pyarrow.dictionary(pyarrow.int32(), TEXT)}, ("jpg", "class")),
        ({"image": IMAGE, "mask": IMAGE, "label": WHOLE}, ("image", "label")),
        ({"path": TEXT, "target": pyarrow.uint8()}, ("path", "target")),
    ],
)
def test_usual_columns_are_found(types: dict, found: tuple[str, str]) -> None:
    assert typed_columns(FILE, types, None, None) == found


def test_given_columns_are_taken() -> None:
    types = {"img": IMAGE, "thumb": IMAGE, "fine_label": WHOLE, "coarse_label": WHOLE}
    assert typed_columns(FILE, types, "thumb", "coarse_label") == ("thumb", "coarse_label")


@pytest.mark.parametrize(
    ("types", "image", "label", "message"),
    [
        (
            {"img": IMAGE, "fine_label": WHOLE},
            "image",
            None,
            r"some.parquet: unknown column 'image': choose fine_label, img.",
        ),
        (
            {"img": IMAGE, "fine_label": WHOLE},
            None,
            "fine_lable",
            r"unknown column 'fine_lable': choose fine_label, img \(did you mean 'fine_label'\?\).",
        ),
        (
            {"a": REAL, "b": TEXT},
            None,
            None,
            r"some.parquet: no image column found among a \(float\), b \(string\); name it by data.image_column.",
        ),
        (
            {"img": IMAGE, "score": REAL},
            None,
            None,
            r"no label column found among img \(struct<.*>\), score \(float\); name it by data.label_column.",
        ),
        (
            {"image": REAL, "label": WHOLE},
            None,
            None,
            r"column 'image' holds float, not images \(bytes, or bytes and path\).",
        ),
        (
            {"image": IMAGE, "label": REAL},
            None,
            None,
            r"column 'label' holds float, not labels \(whole numbers or text\).",
        ),
    ],
)
def test_wrong_columns_are_told(types: dict, image: str | None, label: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        typed_columns(FILE, types, image, label)


def test_columns_without_types_are_listed_by_name() -> None:
    with pytest.raises(ValueError, match=r"no label column found among path, kind; name it by data.label_column."):
        pick_column(Path("list.csv"), "label", None, ["path", "kind"])
