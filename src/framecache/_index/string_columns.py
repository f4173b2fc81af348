"""Compact columns of strings in memory that still allow a row to be read in microseconds.

A million rows take about 50 MB; as strings, their keys alone would take 100 MB.
"""

import binascii
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
StringArray = npt.NDArray[np.object_]

_HASH_DIGITS: Final = 16
_HASH_BYTES: Final = _HASH_DIGITS // 2
_POWERS_OF_TEN: Final = 10 ** np.arange(1, 19, dtype=np.int64)
_ZERO: Final = ord("0")
_MAX_DIGIT: Final = 9


def freeze(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values as a read-only array; if all have the same bytes, only one is stored."""
    bits = values.view(f"u{values.itemsize}")  # of which 0.0 and -0.0 differ
    if len(values) > 1 and (bits == bits[0]).all():
        return np.broadcast_to(values[0], len(values))
    if values.flags.writeable:
        values.flags.writeable = False
    return values


@dataclass(frozen=True, slots=True, eq=False)
class StringBuffers:
    """Strings in the form of Arrow: UTF-8, joined, and the offset of each."""

    bounds: npt.NDArray[np.int32]
    """Offset of each string in the data, and the end of the last."""
    data: bytes | memoryview

    @classmethod
    def from_strings(cls, texts: Sequence[str]) -> Self:
        """Encode strings, which must take less than 2 GiB; otherwise raise ValueError."""
        encoded = [text.encode() for text in texts]
        return cls(_bounds_of([*map(len, encoded)]), b"".join(encoded))

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Lengths of the strings in bytes."""
        return np.diff(self.bounds)

    @property
    def joined(self) -> npt.NDArray[np.uint8]:
        """Bytes of all strings, joined."""
        data = np.frombuffer(self.data, np.uint8)
        return data[self.bounds[0] : self.bounds[-1]]


class StringColumn(ABC):
    """Column of strings."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def item(self, position: int) -> str:
        """Return one string."""

    @abstractmethod
    def __getitem__(self, positions: Positions) -> StringArray:
        """Return several strings, in the given order."""

    @abstractmethod
    def take(self, positions: Positions) -> "StringColumn":
        """Return a column of these rows, in the given order."""

    def equal(self, text: str) -> npt.NDArray[np.bool_]:
        """Return a mask of the rows that have this string."""
        is_it: npt.NDArray[np.bool_] = self[np.arange(len(self))] == text
        return is_it

    def to_buffers(self, positions: Positions) -> StringBuffers:
        """Return these rows in the form of Arrow."""
        return StringBuffers.from_strings(self[positions].tolist())


@dataclass(frozen=True, slots=True, eq=False)
class DictionaryColumn(StringColumn):
    """Dictionary-encoded column: each distinct string once, and a code per row."""

    values: StringArray
    codes: npt.NDArray[Any]

    @classmethod
    def from_strings(cls, texts: Sequence[str]) -> Self:
        """Encode any strings; it is compact if few distinct ones repeat."""
        numbered: dict[str, int] = {}
        codes = np.array([numbered.setdefault(text, len(numbered)) for text in texts], np.int64)
        return cls.from_codes([*numbered], codes)

    @classmethod
    def from_codes(cls, values: Sequence[str], codes: npt.NDArray[Any]) -> Self:
        """Return a column of distinct strings and the code of each row."""
        code_type = np.min_scalar_type(max(0, len(values) - 1))
        return cls(np.array([*values], dtype=np.object_), freeze(codes.astype(code_type)))

    @classmethod
    def from_equal(cls, strings: StringBuffers) -> "DictionaryColumn | None":
        """Encode strings that are all equal; return None if they are not."""
        lengths, joined = strings.lengths, strings.joined
        if not len(lengths) or (lengths != lengths[0]).any():
            return None
        rows = joined.reshape(len(lengths), lengths[0])
        if (rows != rows[0]).any():
            return None
        return cls.of_one(rows[0].tobytes().decode(), len(lengths))

    @classmethod
    def of_one(cls, value: str, length: int) -> Self:
        """Return a column that has the same string in each row."""
        codes = np.broadcast_to(np.zeros((), np.uint8), length)
        return cls(np.array([value], dtype=np.object_), codes)

    def __len__(self) -> int:
        return len(self.codes)

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        return str(self.values[self.codes[position]])

    def __getitem__(self, positions: Positions) -> StringArray:
        return np.take(self.values, self.codes[positions])

    def take(self, positions: Positions) -> "DictionaryColumn":
        """See `StringColumn`."""
        codes, numbered = np.unique(self.codes[positions], return_inverse=True)
        return self.from_codes(self.values[codes].tolist(), numbered)

    def to_buffers(self, positions: Positions) -> StringBuffers:
        """See `StringColumn`."""
        used, codes = np.unique(self.codes[positions], return_inverse=True)
        encoded = [text.encode() for text in self.values[used]]
        lengths = np.array([*map(len, encoded)], np.int64)[codes]
        joined = b"".join([encoded[code] for code in codes.tolist()])
        return StringBuffers(_bounds_of(lengths), joined)

    def equal(self, text: str) -> npt.NDArray[np.bool_]:
        """See `StringColumn`."""
        is_it: npt.NDArray[np.bool_] = (self.values == text)[self.codes]
        return is_it


@dataclass(frozen=True, slots=True, eq=False)
class TemplateColumn(StringColumn):
    """Column of strings that are ``prefix + sequence + suffix``, or empty."""

    prefix: str
    suffix: str
    sequence: npt.NDArray[np.int64]
    is_empty: npt.NDArray[np.bool_]

    @classmethod
    def from_buffers(
        cls, strings: StringBuffers, sequence: npt.NDArray[np.int64]
    ) -> "TemplateColumn | None":
        """Encode a column; return None if any string has another form."""
        is_empty = strings.lengths == 0
        if is_empty.all():
            return cls("", "", sequence, freeze(is_empty))
        first = int(is_empty.argmin())
        begin, end = strings.bounds[first : first + 2].tolist()
        prefix, _, suffix = bytes(strings.data[begin:end]).rpartition(b"%d" % sequence[first])
        numbers, lengths = sequence[~is_empty], strings.lengths[~is_empty]
        if not _match_template(strings.joined, lengths, prefix, suffix, numbers):
            return None
        return cls(prefix.decode(), suffix.decode(), sequence, freeze(is_empty))

    def __len__(self) -> int:
        return len(self.is_empty)

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        if self.is_empty[position]:
            return ""
        return f"{self.prefix}{self.sequence[position]}{self.suffix}"

    def __getitem__(self, positions: Positions) -> StringArray:
        prefix, suffix = self.prefix, self.suffix
        texts = [f"{prefix}{number}{suffix}" for number in self.sequence[positions].tolist()]
        return _string_array(texts, self.is_empty[positions])

    def take(self, positions: Positions) -> "TemplateColumn":
        """See `StringColumn`."""
        sequence, is_empty = self.sequence[positions], freeze(self.is_empty[positions])
        return TemplateColumn(self.prefix, self.suffix, sequence, is_empty)


@dataclass(frozen=True, slots=True, eq=False)
class HexColumn(StringColumn):
    """Column of strings that are 16 hex digits, or empty."""

    data: npt.NDArray[np.uint8]
    """Decoded digits, ``(rows, 8)``."""
    is_empty: npt.NDArray[np.bool_]

    @classmethod
    def from_buffers(cls, strings: StringBuffers) -> "HexColumn | None":
        """Encode a column; return None if any string has another form."""
        lengths, joined = strings.lengths, strings.joined.tobytes()
        is_empty = lengths == 0
        if not (is_empty | (lengths == _HASH_DIGITS)).all():
            return None
        try:
            decoded = binascii.unhexlify(joined)
        except (binascii.Error, ValueError):
            return None
        if binascii.hexlify(decoded) != joined:
            return None
        data = np.zeros((len(lengths), _HASH_BYTES), np.uint8)
        data[~is_empty] = np.frombuffer(decoded, np.uint8).reshape(-1, _HASH_BYTES)
        return cls(data, freeze(is_empty))

    def __len__(self) -> int:
        return len(self.is_empty)

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        return "" if self.is_empty[position] else self.data[position].tobytes().hex()

    def __getitem__(self, positions: Positions) -> StringArray:
        digits = self.data[positions].tobytes().hex()
        begins = range(0, len(digits), _HASH_DIGITS)
        texts = [digits[begin : begin + _HASH_DIGITS] for begin in begins]
        return _string_array(texts, self.is_empty[positions])

    def take(self, positions: Positions) -> "HexColumn":
        """See `StringColumn`."""
        return HexColumn(self.data[positions], freeze(self.is_empty[positions]))

    def to_buffers(self, positions: Positions) -> StringBuffers:
        """See `StringColumn`."""
        is_empty = self.is_empty[positions]
        bounds = _bounds_of(np.where(is_empty, 0, _HASH_DIGITS))
        return StringBuffers(bounds, binascii.hexlify(self.data[positions][~is_empty].tobytes()))


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedColumn(StringColumn):
    """Column of strings in pieces of different forms."""

    pieces: tuple[StringColumn, ...]
    bounds: tuple[int, ...]
    """Position of each piece's first row, and the number of rows."""

    @classmethod
    def of(cls, pieces: Sequence[StringColumn]) -> Self:
        """Return a column of all rows of these pieces, in order."""
        return cls(tuple(pieces), (0, *accumulate(map(len, pieces))))

    def __len__(self) -> int:
        return self.bounds[-1]

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        piece = bisect_right(self.bounds, position) - 1
        if piece == len(self.pieces):
            raise IndexError(position)
        return self.pieces[piece].item(position - self.bounds[piece])

    def __getitem__(self, positions: Positions) -> StringArray:
        texts = np.empty(len(positions), np.object_)
        pieces = np.searchsorted(self.bounds, positions, side="right") - 1
        for piece in np.unique(pieces).tolist():
            wanted = pieces == piece
            texts[wanted] = self.pieces[piece][positions[wanted] - self.bounds[piece]]
        return texts

    def take(self, positions: Positions) -> DictionaryColumn:
        """See `StringColumn`."""
        return DictionaryColumn.from_strings(self[positions].tolist())


def concat(pieces: Sequence[StringColumn]) -> StringColumn:
    """Return a column of all rows of several columns, in order; of at least one column."""
    flat = [
        part
        for piece in pieces
        for part in (piece.pieces if isinstance(piece, ChunkedColumn) else (piece,))
        if len(part)
    ]
    if len(flat) <= 1:
        return flat[0] if flat else pieces[0]
    dictionaries = [piece for piece in flat if isinstance(piece, DictionaryColumn)]
    if len(dictionaries) == len(flat):
        return _concat_dictionaries(dictionaries)
    templates = [piece for piece in flat if isinstance(piece, TemplateColumn)]
    around = {(piece.prefix, piece.suffix) for piece in templates if not piece.is_empty.all()}
    if len(templates) == len(flat) and len(around) <= 1:
        sequence = np.concatenate([piece.sequence for piece in templates])
        is_empty = np.concatenate([piece.is_empty for piece in templates])
        return TemplateColumn(*(around or {("", "")}).pop(), sequence, freeze(is_empty))
    hashes = [piece for piece in flat if isinstance(piece, HexColumn)]
    if len(hashes) == len(flat):
        is_empty = np.concatenate([piece.is_empty for piece in hashes])
        return HexColumn(np.concatenate([piece.data for piece in hashes]), freeze(is_empty))
    return ChunkedColumn.of(flat)


def _concat_dictionaries(pieces: Sequence[DictionaryColumn]) -> DictionaryColumn:
    numbered: dict[str, int] = {}
    codes = []
    for piece in pieces:
        known = [numbered.setdefault(text, len(numbered)) for text in piece.values]
        codes.append(np.array(known, np.int64)[piece.codes])
    return DictionaryColumn.from_codes([*numbered], np.concatenate(codes))


def _match_template(
    joined: npt.NDArray[np.uint8],
    lengths: npt.NDArray[np.int32],
    prefix: bytes,
    suffix: bytes,
    numbers: npt.NDArray[np.int64],
) -> bool:
    """Return True if each of the joined strings is the prefix, its number, and the suffix."""
    digit_counts = np.searchsorted(_POWERS_OF_TEN, numbers, side="right") + 1
    if not (lengths == len(prefix) + digit_counts + len(suffix)).all():
        return False
    begin = 0
    # Numbers ascend, so that those of as many digits are neighbors.
    edges = [0, *(np.flatnonzero(np.diff(digit_counts)) + 1).tolist(), len(numbers)]
    for first, stop in pairwise(edges):
        length = int(lengths[first])
        end = begin + length * (stop - first)
        rows = joined[begin:end].reshape(-1, length)
        if not _match_rows(rows, prefix, suffix, numbers[first:stop]):
            return False
        begin = end
    return True


def _match_rows(
    rows: npt.NDArray[np.uint8], prefix: bytes, suffix: bytes, numbers: npt.NDArray[np.int64]
) -> bool:
    """Return True if each row of bytes is the prefix, its number, and the suffix."""
    digits_end = rows.shape[1] - len(suffix)
    value = np.zeros(len(rows), np.int64)
    for place in range(len(prefix), digits_end):
        digit = rows[:, place] - np.uint8(_ZERO)
        if (digit > _MAX_DIGIT).any():
            return False
        value = value * 10 + digit
    is_prefix = rows[:, : len(prefix)] == np.frombuffer(prefix, np.uint8)
    is_suffix = rows[:, digits_end:] == np.frombuffer(suffix, np.uint8)
    return bool(is_prefix.all() and is_suffix.all() and (value == numbers).all())


def _bounds_of(lengths: "Sequence[int] | npt.NDArray[Any]") -> npt.NDArray[np.int32]:
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    if bounds[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{bounds[-1]} bytes of strings are too many for one column")
    return bounds.astype(np.int32)


def _string_array(texts: list[str], is_empty: npt.NDArray[np.bool_]) -> StringArray:
    array = np.array(texts, dtype=np.object_)
    array[is_empty] = ""
    return array
