"""Compact columns in memory that still allow a row to be read in microseconds.

A million rows take about 50 MB; as strings, their keys alone would take 100 MB.
"""

import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from framecache._core.native_calls import native_call
from framecache._core.threads import PerProcess
from framecache._index.arrow import (
    as_booleans,
    as_numpy,
    dictionary_encode,
    from_numpy,
    string_scalar,
)
from framecache._index.row_sources import RowGroup

if TYPE_CHECKING:
    import pyarrow as pa

Number = TypeVar("Number", bound=np.generic)
Positions = npt.NDArray[np.int64]
SmallIntegers = npt.NDArray[np.signedinteger[Any]]
StringArray = npt.NDArray[np.object_]

_HASH_DIGITS: Final = 16


def number_column(
    arrays: "Iterable[pa.Array[Any]]", length: int, dtype: type[Number]
) -> npt.NDArray[Number]:
    """Return a column as a read-only array; if all values are equal, only one is stored."""
    values = np.empty(length, dtype)
    begin = 0
    for array in arrays:
        values[begin : begin + len(array)] = as_numpy(array)
        begin += len(array)
    return _freeze(values)


def compact_integers(arrays: "Iterable[pa.Array[Any]]") -> SmallIntegers:
    """Return a column of integers in the narrowest type that holds all its values."""
    pieces = [_narrow(as_numpy(array)) for array in arrays]
    return _freeze(np.concatenate(pieces) if pieces else np.empty(0, np.int64))


def as_int64(integers: SmallIntegers) -> npt.NDArray[np.int64]:
    """Return integers as int64, the type that they have in files."""
    return _freeze(integers.astype(np.int64))


class StringColumn(Protocol):
    """Column of strings."""

    def item(self, position: int) -> str:
        """Return one text."""
        ...

    def __getitem__(self, positions: Positions) -> StringArray:
        """Return several strings, in the given order."""
        ...


_decode_locks: Final = PerProcess(lambda: tuple(Lock() for _ in range(64)))
"""Locks held while strings are made, so that threads that need the same wait for each other."""


class ChunkedColumn:
    """Column of strings in pieces (row groups), each decoded at its first access.

    For a million rows, decoding the strings takes most of the time until the first row is read.
    """

    def __init__(
        self, pieces: Sequence[RowGroup], make: Callable[[RowGroup, slice], StringColumn]
    ) -> None:
        """Create the column without decoding.

        Args:
            pieces: pieces of the rows, in order.
            make: decodes the strings of a piece, given the range of its rows among all rows.
        """
        self._pieces = pieces
        self._bounds = [0, *accumulate(piece.row_count for piece in pieces)]
        self._make = make
        self._made: dict[int, StringColumn] = {}

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        piece = bisect_right(self._bounds, position) - 1
        return self._decode_group(piece).item(position - self._bounds[piece])

    def __getitem__(self, positions: Positions) -> StringArray:
        texts = np.empty(len(positions), np.object_)
        pieces = np.searchsorted(self._bounds, positions, side="right") - 1
        for piece in np.unique(pieces).tolist():
            wanted = pieces == piece
            texts[wanted] = self._decode_group(piece)[positions[wanted] - self._bounds[piece]]
        return texts

    def _decode_group(self, piece: int) -> StringColumn:
        if piece not in self._made:
            locks = _decode_locks.value
            with locks[hash((id(self), piece)) % len(locks)]:
                if piece not in self._made:
                    rows = slice(self._bounds[piece], self._bounds[piece + 1])
                    self._made[piece] = self._make(self._pieces[piece], rows)
        return self._made[piece]


def string_column(
    pieces: Sequence[RowGroup], make: Callable[[RowGroup, slice], StringColumn]
) -> StringColumn:
    """Create a column of strings, in pieces if there are several; arguments as `ChunkedColumn`."""
    return ChunkedColumn(pieces, make) if len(pieces) > 1 else make(pieces[0], slice(None))


def key_column(
    read: "Callable[[], Iterator[pa.Array[Any]]]", sequence: npt.NDArray[np.int64]
) -> "TemplateColumn | DictionaryColumn":
    """Create a column of keys: derived from the sequences, or a few keys shared by many rows."""
    return TemplateColumn.from_arrays(read(), sequence) or DictionaryColumn.from_arrays(
        read(), len(sequence)
    )


def hash_column(
    read: "Callable[[], Iterator[pa.Array[Any]]]", length: int
) -> "HexColumn | DictionaryColumn":
    """Create a column of perceptual hashes."""
    return HexColumn.from_arrays(read(), length) or DictionaryColumn.from_arrays(read(), length)


@dataclass(frozen=True, slots=True, eq=False)
class DictionaryColumn:
    """Dictionary-encoded column: each distinct text once, and a code per row."""

    values: StringArray
    codes: npt.NDArray[Any]

    @classmethod
    def from_arrays(cls, arrays: "Iterable[pa.Array[Any]]", length: int) -> Self:
        """Encode any column; it is compact if few distinct strings repeat."""
        numbered: dict[str, int] = {}
        codes = np.empty(length, np.int32)
        begin = 0
        for array in arrays:
            encoded = dictionary_encode(array)
            texts: list[Any] = encoded.dictionary.to_pylist()
            known = np.array([numbered.setdefault(text, len(numbered)) for text in texts], np.int32)
            codes[begin : begin + len(array)] = known[as_numpy(encoded.indices)]
            begin += len(array)
        code_type = np.min_scalar_type(max(0, len(numbered) - 1))
        return cls(np.array([*numbered], dtype=np.object_), _freeze(codes.astype(code_type)))

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        return str(self.values[self.codes[position]])

    def __getitem__(self, positions: Positions) -> StringArray:
        return np.take(self.values, self.codes[positions])

    def equal(self, text: str) -> npt.NDArray[np.bool_]:
        """Return a mask of the rows that have this text."""
        is_it: npt.NDArray[np.bool_] = (self.values == text)[self.codes]
        return is_it


@dataclass(frozen=True, slots=True, eq=False)
class TemplateColumn:
    """Column of strings that are ``prefix + sequence + suffix``, or empty."""

    prefix: str
    suffix: str
    sequence: npt.NDArray[np.int64]
    is_empty: npt.NDArray[np.bool_]

    @classmethod
    def from_arrays(
        cls, arrays: "Iterable[pa.Array[Any]]", sequence: npt.NDArray[np.int64]
    ) -> "Self | None":
        """Encode a column; return None if any text has another form."""
        is_empty = np.empty(len(sequence), np.bool_)
        around: tuple[str, str] | None = None
        begin = 0
        for array in arrays:
            end = begin + len(array)
            is_empty[begin:end] = empty = _lengths(array) == 0
            if around is None and not empty.all():
                first = int(empty.argmin())
                prefix, _, suffix = str(array[first]).rpartition(str(sequence[begin + first]))
                around = prefix, suffix
            if around is not None:
                is_numbered = _match_template(array, around, sequence[begin:end])
                if not (is_numbered | empty).all():
                    return None
            begin = end
        return cls(*(around or ("", "")), sequence, _freeze(is_empty))

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        if self.is_empty[position]:
            return ""
        return f"{self.prefix}{self.sequence[position]}{self.suffix}"

    def __getitem__(self, positions: Positions) -> StringArray:
        prefix, suffix = self.prefix, self.suffix
        texts = [f"{prefix}{number}{suffix}" for number in self.sequence[positions].tolist()]
        return _string_array(texts, self.is_empty[positions])


@dataclass(frozen=True, slots=True, eq=False)
class HexColumn:
    """Column of strings that are 16 hex digits, or empty."""

    data: npt.NDArray[np.uint8]
    """Decoded digits, ``(rows, 8)``."""
    is_empty: npt.NDArray[np.bool_]

    @classmethod
    def from_arrays(cls, arrays: "Iterable[pa.Array[Any]]", length: int) -> "Self | None":
        """Encode a column; return None if any text has another form."""
        data = np.zeros((length, _HASH_DIGITS // 2), np.uint8)
        is_empty = np.empty(length, np.bool_)
        begin = 0
        for array in arrays:
            end = begin + len(array)
            lengths, joined = _lengths(array), _concatenated_bytes(array)
            is_empty[begin:end] = empty = lengths == 0
            if not (empty | (lengths == _HASH_DIGITS)).all():
                return None
            try:
                decoded = binascii.unhexlify(joined)
            except binascii.Error:
                return None
            if binascii.hexlify(decoded) != joined:
                return None
            data[begin:end][~empty] = np.frombuffer(decoded, np.uint8).reshape(-1, data.shape[1])
            begin = end
        return cls(data, _freeze(is_empty))

    def item(self, position: int) -> str:
        """See `StringColumn`."""
        return "" if self.is_empty[position] else self.data[position].tobytes().hex()

    def __getitem__(self, positions: Positions) -> StringArray:
        digits = self.data[positions].tobytes().hex()
        begins = range(0, len(digits), _HASH_DIGITS)
        texts = [digits[begin : begin + _HASH_DIGITS] for begin in begins]
        return _string_array(texts, self.is_empty[positions])


@native_call
def _match_template(
    array: "pa.Array[Any]", around: tuple[str, str], numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    import pyarrow.compute as pc  # noqa: PLC0415 -- same

    from framecache._index.lazy_arrow import pa  # noqa: PLC0415 -- loaded when an index is

    digits = from_numpy(numbers, pa.int64()).cast(pa.string())
    parts: Any = (string_scalar(around[0]), digits, string_scalar(around[1]), string_scalar(""))
    return as_booleans(pc.equal(pc.binary_join_element_wise(*parts), array))


def _lengths(array: "pa.Array[Any]") -> npt.NDArray[np.int32]:
    """Return the lengths of the strings in bytes."""
    return np.diff(_bounds(array))


def _bounds(array: "pa.Array[Any]") -> npt.NDArray[np.int32]:
    """Return the offset of each text in the array's data, and the end of the last text."""
    bounds = array.buffers()[1]
    assert bounds is not None
    return np.frombuffer(memoryview(bounds), np.int32)[array.offset :][: len(array) + 1]


def _concatenated_bytes(array: "pa.Array[Any]") -> bytes:
    """Return the bytes of all strings, concatenated."""
    data, bounds = array.buffers()[2], _bounds(array)
    return data[int(bounds[0]) : int(bounds[-1])].to_pybytes() if data else b""


def _string_array(texts: list[str], is_empty: npt.NDArray[np.bool_]) -> StringArray:
    array = np.array(texts, dtype=np.object_)
    array[is_empty] = ""
    return array


def _narrow(values: npt.NDArray[np.int64]) -> SmallIntegers:
    limits = [np.iinfo(kind) for kind in (np.int8, np.int16, np.int32, np.int64)]
    least, most = values.min(), values.max()
    narrowest = next(limit for limit in limits if limit.min <= least and most <= limit.max)
    return values.astype(narrowest.dtype)


def _freeze(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    if len(values) > 1 and (values == values[0]).all():
        return np.broadcast_to(values[0], len(values))
    values.flags.writeable = False
    return values
