# SPDX-License-Identifier: MIT
"""Verification sets of InsightFace, `.bin`: pickled files that are read without ever running what they name."""

from __future__ import annotations

import math
import os
import pickle
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hypersphere.data.sources import one_line

__all__ = ["BinPairs", "read_bin"]

_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_FROM_BUFFER = tuple((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric"))
# the only names that a file of encoded images needs; none of them is looked up, a `_Stand` takes its place
_ALLOWED = {
    *((module, "_reconstruct") for module in _NUMPY_MODULES),
    *_FROM_BUFFER,
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
# what pickles of tuples, lists, bytes, numbers and arrays consist of, by the byte that stands for each step
_STEPS = {
    step.code: step
    for step in pickletools.opcodes
    if step.name
    in (
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
        *("TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    )
}
# what NumPy calls unsigned bytes and truth values
_BYTE, _BOOL = ("u1", "uint8", "B"), ("b1", "bool", "?")


@dataclass(frozen=True)
class BinPairs:
    """Images 2 i and 2 i + 1 are pair i.

    Args:
        images: 2 P encoded images.
        same: (P,) bool, whether both images of a pair show one person.
    """

    images: list[bytes]
    same: np.ndarray


class _RefusedError(ValueError):
    """A file names what no verification set needs."""


class _Stand:
    """Stands for a NumPy function or class: called, it keeps what it was called with and does nothing.

    Without attributes of its own to set, so that a file cannot change it.
    """

    __slots__ = ("_name", "_texts")
    _name: str
    _texts: dict[str, bytes]

    def __init__(self, name: str, texts: dict[str, bytes]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_texts", texts)

    def __setattr__(self, name: str, value: object) -> None:
        raise _RefusedError(f"it sets the attribute {name!r} of {self._name}")

    def __call__(self, *args: Any) -> Any:
        if self._name == "encode":
            return _encoded_text(self._texts, *args)
        return _Made(self._name, args)


class _Made:
    """What a file makes of NumPy: an array or its type, as the arguments and the state that the file gives."""

    __slots__ = ("args", "name", "state")
    state: Any

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        self.name, self.args, self.state = name, args, None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Gives a `_Stand` for each name that is allowed, and refuses all others; imports nothing."""

    def __init__(self, opened: BinaryIO) -> None:
        # text of Python 2 becomes bytes, as which it was meant
        super().__init__(opened, encoding="bytes")
        # what was encoded so far: a file of a few bytes may ask for the same long text again and again
        self._texts: dict[str, bytes] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _RefusedError(f"it names {module}.{name}, which no verification set needs")
        return _Stand(name, self._texts)


def read_bin(file: Path) -> BinPairs:
    """The pairs of a verification set such as `lfw.bin` or `agedb_30.bin`.

    Args:
        file: a pickle of two lists, 2 P encoded images (bytes or arrays of them) and P truth values; those written by
            Python 2 too.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is anything else. Nothing that it names is imported or called.

    Edge cases:
        Such files come from strangers, and a pickle may name any function to be called when it is read. Here the names
        of NumPy's arrays stand for inert records, and any other name ends the reading.
    """
    try:
        with file.open("rb") as opened:
            content = _unpickled(opened)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: there is no such verification set.") from None
    except _RefusedError as error:
        raise ValueError(
            f"{file}: refused, since {error}. Such a file may be made to run what it likes; get it from elsewhere."
        ) from None
    # a file that is no pickle, or a damaged one, may raise anything
    except Exception as error:
        raise ValueError(f"{file}: cannot be read as a verification set ({one_line(error)}).") from error
    try:
        return _checked(content)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}; expected 2 P encoded images and P truth values.") from None


def _unpickled(opened: BinaryIO) -> Any:
    _scan(opened)
    opened.seek(0)
    return _Unpickler(opened).load()


def _scan(opened: BinaryIO) -> None:
    """Refuse steps that lists of images do not need, and lengths and places that only serve to fill the memory."""
    size = os.fstat(opened.fileno()).st_size
    steps = 0
    while True:
        code = opened.read(1).decode("latin1")
        step = _STEPS.get(code)
        if not code:
            raise pickle.UnpicklingError("it ends too early")
        if step is None:
            raise pickle.UnpicklingError(f"byte {opened.tell() - 1} is no step towards lists of images")
        steps += 1
        if step.name == "STOP":
            return
        # escaped bytes on a line of their own, which need not be text
        argument: Any = opened.readline() if step.name == "STRING" else step.arg.reader(opened) if step.arg else None
        if step.name == "FRAME" and argument > size:
            raise pickle.UnpicklingError("it ends too early")
        if step.name in ("PUT", "LONG_BINPUT") and argument > steps:
            raise _RefusedError(f"it asks for more memory than it can need, {step.name} {argument}")


def _checked(content: Any) -> BinPairs:
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise ValueError(f"it holds {_kind(content)}, not two lists")
    bins, same = content
    if not isinstance(bins, tuple | list):
        raise ValueError(f"its images are {_kind(bins)}, not a list")
    if isinstance(same, _Made):
        same = np.frombuffer(_raw(same, _BOOL), dtype=np.bool_).tolist()
    if not isinstance(same, tuple | list):
        raise ValueError(f"its answers are {_kind(same)}, not a list")
    if not same or len(bins) != 2 * len(same):
        raise ValueError(f"it holds {len(bins)} images and {len(same)} answers")
    for number, answer in enumerate(same):
        if not isinstance(answer, int) or answer not in (0, 1):
            raise ValueError(f"answer {number} is {_kind(answer)}, not true or false")
    images = []
    # one array at many places of the list is copied once, as many copies may be more than the memory holds
    copied: dict[int, bytes] = {}
    for number, image in enumerate(bins):
        if not isinstance(image, bytes | bytearray | _Made):
            raise ValueError(f"image {number} is {_kind(image)}, not bytes")
        raw = _raw(image, _BYTE) if isinstance(image, _Made) else image
        if id(raw) not in copied:
            copied[id(raw)] = bytes(raw)
        images.append(copied[id(raw)])
    return BinPairs(images, np.array(same, dtype=np.bool_))


def _raw(made: _Made, kinds: tuple[str, ...]) -> bytes | bytearray:
    """The numbers of a one-byte array of one of these types."""
    if made.name == "_frombuffer" and len(made.args) == 4:
        raw, dtype, shape, _ = made.args
    elif made.name == "_reconstruct" and isinstance(made.state, tuple) and len(made.state) == 5:
        _, shape, dtype, _, raw = made.state
    else:
        raise ValueError(f"it holds {_kind(made)} without content")
    kind = dtype.args[0] if isinstance(dtype, _Made) and dtype.name == "dtype" and dtype.args else None
    kind = kind.decode("latin1") if isinstance(kind, bytes) else kind
    if kind not in kinds:
        raise ValueError(f"an array holds numbers of type {kind!r:.40}, not {kinds[0]}")
    if not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple):
        raise ValueError("an array has no bytes or no shape")
    if not all(isinstance(side, int) and side >= 0 for side in shape) or math.prod(shape) != len(raw):
        raise ValueError(f"an array of shape {shape!r:.40} has {len(raw)} bytes")
    return raw


def _encoded_text(texts: dict[str, bytes], text: Any = None, encoding: Any = None, *more: Any) -> bytes:
    """What `_codecs.encode` is used for in pickles: bytes that were written as text."""
    encoding = encoding.decode("latin1") if isinstance(encoding, bytes) else encoding
    if more or not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise _RefusedError("it calls _codecs.encode with other arguments than text and 'latin1'")
    if text not in texts:
        texts[text] = text.encode("latin1")
    return texts[text]


def _kind(value: object) -> str:
    return f"an object of {value.name}" if isinstance(value, _Made) else f"of type {type(value).__name__}"
