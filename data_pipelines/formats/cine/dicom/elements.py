"""Elements of a DICOM header, read so that one that is empty or garbled never stops the others."""

from __future__ import annotations

import contextlib
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pydicom
from pydicom.datadict import dictionary_description
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from data_pipelines.notes import Note, note

_ONE_AT_A_TIME = threading.RLock()  # collecting warnings changes the state of the whole process
# pydicom has no common error: on a broken file it and its decoders raise one of these
DAMAGED = (
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    KeyError,
    IndexError,
    OSError,
    EOFError,
    NotImplementedError,
    MemoryError,
    ArithmeticError,
    struct.error,
    BytesLengthException,
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom's warnings, which quote the values of the header, from being shown."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # what begins an item of a sequence, in both orders of bytes
MOST_ITEMS = 20_000  # of a sequence with all that it holds


class Elements:
    """A header, or one item of a sequence in it. What cannot be read counts as absent, and a note says so."""

    def __init__(self, dataset: pydicom.Dataset, notes: list[Note] | None = None):
        """Wraps a header.

        Args:
            dataset: as pydicom reads it.
            notes: where to add the notes on what is left out of account; None begins a new list.
        """
        self._dataset = dataset
        self.notes: list[Note] = [] if notes is None else notes

    def __contains__(self, name: str | int) -> bool:
        return name in self._dataset

    def ignore(self, name: str, why: str) -> None:
        """Adds the note that an element is left out of account, once for each element.

        Args:
            name: keyword of the element.
            why: what is wrong with it, as the end of a sentence.
        """
        title = dictionary_description(Tag(name))
        if not any(one.text.startswith(f"{title} ") for one in self.notes):
            self.notes.append(note("element ignored", f"{title} {why}; it was left out of account."))

    def is_empty(self, name: str) -> bool:
        """Tells whether the element is there and holds nothing."""
        return name in self and not self.text(name) and not self.items(name)

    def _value(self, name: str) -> Any:
        """Converts the value of an element that is there."""
        with quiet():
            return self._dataset[name].value

    def _stored(self, name: str) -> bytes:
        """Returns the bytes of an element that is there and was not converted yet; b"" where there are none."""
        try:
            raw = self._dataset.get_item(Tag(name))
        except DAMAGED:  # pydicom converts an element without bytes, and knows not every VR
            return b""
        return raw.value or b"" if isinstance(raw, RawDataElement) else b""

    def numbers(self, name: str) -> tuple[float, ...]:
        """Reads every value of an element as a number; () where it is absent, empty or garbled."""
        if name not in self._dataset:
            return ()
        stored = self._stored(name)
        try:
            value = self._value(name)
        except DAMAGED:  # not of its VR: the text itself
            value = stored.decode("latin-1").split("\\") if stored else None
        values = value if isinstance(value, MultiValue | list | tuple) else [value]
        try:
            texts = ["" if one is None else str(one).strip(" \0") for one in values]
            return tuple(float(text) for text in texts if text)
        except DAMAGED:
            self.ignore(name, "holds no number")
            return ()

    def number(self, name: str) -> float | None:
        """Reads an element of one value; None where it is absent, empty, garbled, or holds values that differ."""
        values = self.numbers(name)
        if len(set(values)) > 1:
            self.ignore(name, f"holds {len(values)} values, expected one")
            return None
        return values[0] if values else None

    def integer(self, name: str) -> int | None:
        """Reads an element of one whole number, as `number` does."""
        value = self.number(name)
        if value is not None and not value.is_integer():  # false for infinity and NaN too
            self.ignore(name, "holds no whole number")
            return None
        return None if value is None else int(value)

    def text(self, name: str) -> str:
        """Reads an element as text without padding, "" where there is none; values are joined by \\."""
        if name not in self._dataset:
            return ""
        try:
            value = self._value(name)
        except DAMAGED:
            self.ignore(name, "cannot be read")
            return ""
        if value is None:
            return ""
        if isinstance(value, pydicom.Sequence):  # items are no text, and may hold personal data
            return ""
        values = value if isinstance(value, MultiValue | list | tuple) else [value]
        return "\\".join(str(one) for one in values).strip(" \0")

    def tags(self, name: str) -> tuple[int, ...]:
        """Reads an element that names other elements; () where it is absent or cannot be read."""
        try:
            value = self._value(name) if name in self._dataset else None
            values: Sequence = value if isinstance(value, MultiValue | list | tuple) else [value]
            return tuple(int(one) for one in values if one is not None and one != "")
        except DAMAGED:
            self.ignore(name, "cannot be read")
            return ()

    def items(self, name: str) -> list[Elements]:
        """Reads the items of a sequence; [] where it is absent, empty or no sequence."""
        if name not in self._dataset:
            return []
        if max(map(self._stored(name).count, ITEMS)) > MOST_ITEMS:
            self.ignore(name, f"holds more than {MOST_ITEMS} items")
            return []
        try:
            value = self._value(name) or []
            return [Elements(item, self.notes) for item in value if isinstance(item, pydicom.Dataset)]
        except DAMAGED:
            self.ignore(name, "cannot be read")
            return []

    def sequences(self) -> list[str]:
        """Lists the keywords of the sequences."""
        names = []
        for tag in tuple(self._dataset.keys()):
            with contextlib.suppress(*DAMAGED):  # an element of a VR that pydicom does not know
                if self._dataset[tag].VR == "SQ":
                    names.append(self._dataset[tag].keyword)
        return names

    def content(self, name: str) -> bytes:
        """Reads the bytes of an element; b"" where it is absent or holds none."""
        try:
            value = self._value(name) if name in self._dataset else b""
        except DAMAGED:
            self.ignore(name, "cannot be read")
            return b""
        return bytes(value) if isinstance(value, bytes | bytearray) else b""

    @property
    def dataset(self) -> pydicom.Dataset:
        """The header itself, for the functions of pydicom that take one."""
        return self._dataset
