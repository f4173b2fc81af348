"""Columns in as little memory as lets a row be read in microseconds.

A million rows take about 50 MB so; as texts, their keys alone would take 100 MB.
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

from framecache.index.sources import Piece

if TYPE_CHECKING:
    import pyarrow as pa

Number = TypeVar("Number", bound=np.generic)
Positions = npt.NDArray[np.int64]
SmallIntegers = npt.NDArray[np.signedinteger[Any]]
TextArray = npt.NDArray[np.object_]

_HASH_DIGITS: Final = 16


def numbers(
    arrays: "Iterable[pa.Array[Any]]", length: int, dtype: type[Number]
) -> npt.NDArray[Number]:
    """The values of a column; where all are the same one, it is held once."""
    values = np.empty(length, dtype)
    begin = 0
    for array in arrays:
        values[begin : begin + len(array)] = array.to_numpy()
        begin += len(array)
    return _held(values)


def small_integers(arrays: "Iterable[pa.Array[Any]]") -> SmallIntegers:
    """The values of a column of integers, in the narrowest type that holds them all."""
    pieces = [_narrowed(array.to_numpy()) for array in arrays]
    return _held(np.concatenate(pieces) if pieces else np.empty(0, np.int64))


def widened(integers: SmallIntegers) -> npt.NDArray[np.int64]:
    """The same values, in the type that they have in files."""
    return _held(integers.astype(np.int64))


class Texts(Protocol):
    """The values of a column of texts."""

    def item(self, position: int) -> str:
        """One of them."""
        ...

    def __getitem__(self, positions: Positions) -> TextArray:
        """Some of them, in the order given."""
        ...


class PiecewiseTexts:
    """Texts in pieces, each made when one of its own is first asked for.

    Of a million rows, making the texts takes most of the time until the first row is read.
    """

    def __init__(self, pieces: Sequence[Piece], make: Callable[[Piece, slice], Texts]) -> None:
        """Make none yet.

        Args:
            pieces: of the rows, in their order.
            make: makes the texts of a piece, given which of all rows it has.
        """
        self._pieces = pieces
        self._bounds = [0, *accumulate(piece.row_count for piece in pieces)]
        self._make = make
        self._made: dict[int, Texts] = {}
        self._making = Lock()

    def item(self, position: int) -> str:
        """See `Texts`."""
        piece = bisect_right(self._bounds, position) - 1
        return self._piece(piece).item(position - self._bounds[piece])

    def __getitem__(self, positions: Positions) -> TextArray:
        texts = np.empty(len(positions), np.object_)
        pieces = np.searchsorted(self._bounds, positions, side="right") - 1
        for piece in np.unique(pieces).tolist():
            wanted = pieces == piece
            texts[wanted] = self._piece(piece)[positions[wanted] - self._bounds[piece]]
        return texts

    def _piece(self, piece: int) -> Texts:
        with self._making:
            if piece not in self._made:
                rows = slice(self._bounds[piece], self._bounds[piece + 1])
                self._made[piece] = self._make(self._pieces[piece], rows)
            return self._made[piece]


def in_pieces(pieces: Sequence[Piece], make: Callable[[Piece, slice], Texts]) -> Texts:
    """A column of texts, by pieces if there are several; the arguments of `PiecewiseTexts`."""
    return PiecewiseTexts(pieces, make) if len(pieces) > 1 else make(pieces[0], slice(None))


def keys(
    read: "Callable[[], Iterator[pa.Array[Any]]]", sequence: npt.NDArray[np.int64]
) -> "NumberedTexts | FewTexts":
    """A column of the keys of frames: named by their sequences, or those of the same few blobs."""
    return NumberedTexts.of(read(), sequence) or FewTexts.of(read(), len(sequence))


def hashes(read: "Callable[[], Iterator[pa.Array[Any]]]", length: int) -> "HexTexts | FewTexts":
    """A column of perceptual hashes."""
    return HexTexts.of(read(), length) or FewTexts.of(read(), length)


@dataclass(frozen=True, slots=True, eq=False)
class FewTexts:
    """Texts, each held once, and which of them each row has."""

    texts: TextArray
    codes: npt.NDArray[Any]

    @classmethod
    def of(cls, arrays: "Iterable[pa.Array[Any]]", length: int) -> Self:
        """Any column; one in which the same texts come again and again takes little."""
        numbered: dict[str, int] = {}
        codes = np.empty(length, np.int32)
        begin = 0
        for array in arrays:
            encoded = array.dictionary_encode()
            texts: list[Any] = encoded.dictionary.to_pylist()
            known = np.array([numbered.setdefault(text, len(numbered)) for text in texts], np.int32)
            codes[begin : begin + len(array)] = known[encoded.indices.to_numpy()]
            begin += len(array)
        code_type = np.min_scalar_type(max(0, len(numbered) - 1))
        return cls(np.array([*numbered], dtype=np.object_), _held(codes.astype(code_type)))

    def item(self, position: int) -> str:
        """See `Texts`."""
        return str(self.texts[self.codes[position]])

    def __getitem__(self, positions: Positions) -> TextArray:
        return np.take(self.texts, self.codes[positions])

    def equal(self, text: str) -> npt.NDArray[np.bool_]:
        """Which rows have this text."""
        is_it: npt.NDArray[np.bool_] = (self.texts == text)[self.codes]
        return is_it


@dataclass(frozen=True, slots=True, eq=False)
class NumberedTexts:
    """``prefix + sequence + suffix``, or nothing."""

    prefix: str
    suffix: str
    sequence: npt.NDArray[np.int64]
    is_empty: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls, arrays: "Iterable[pa.Array[Any]]", sequence: npt.NDArray[np.int64]
    ) -> "Self | None":
        """Such a column; None when a text is another."""
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
                is_numbered = _are_numbered(array, around, sequence[begin:end])
                if not (is_numbered | empty).all():
                    return None
            begin = end
        return cls(*(around or ("", "")), sequence, _held(is_empty))

    def item(self, position: int) -> str:
        """See `Texts`."""
        if self.is_empty[position]:
            return ""
        return f"{self.prefix}{self.sequence[position]}{self.suffix}"

    def __getitem__(self, positions: Positions) -> TextArray:
        prefix, suffix = self.prefix, self.suffix
        texts = [f"{prefix}{number}{suffix}" for number in self.sequence[positions].tolist()]
        return _texts(texts, self.is_empty[positions])


@dataclass(frozen=True, slots=True, eq=False)
class HexTexts:
    """16 hex digits, or nothing."""

    data: npt.NDArray[np.uint8]
    """``(rows, 8)``"""
    is_empty: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, arrays: "Iterable[pa.Array[Any]]", length: int) -> "Self | None":
        """Such a column; None when a text is another."""
        data = np.zeros((length, _HASH_DIGITS // 2), np.uint8)
        is_empty = np.empty(length, np.bool_)
        begin = 0
        for array in arrays:
            end = begin + len(array)
            lengths, joined = _lengths(array), _joined(array)
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
        return cls(data, _held(is_empty))

    def item(self, position: int) -> str:
        """See `Texts`."""
        return "" if self.is_empty[position] else self.data[position].tobytes().hex()

    def __getitem__(self, positions: Positions) -> TextArray:
        digits = self.data[positions].tobytes().hex()
        begins = range(0, len(digits), _HASH_DIGITS)
        texts = [digits[begin : begin + _HASH_DIGITS] for begin in begins]
        return _texts(texts, self.is_empty[positions])


def _are_numbered(
    array: "pa.Array[Any]", around: tuple[str, str], numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    import pyarrow as pa  # noqa: PLC0415 -- loaded when an index is
    import pyarrow.compute as pc  # noqa: PLC0415 -- likewise

    digits = pa.array(numbers).cast(pa.string())
    parts: Any = (around[0], digits, around[1], "")
    return np.asarray(pc.equal(pc.binary_join_element_wise(*parts), array))


def _lengths(array: "pa.Array[Any]") -> npt.NDArray[np.int32]:
    """Of texts, in bytes."""
    return np.diff(_bounds(array))


def _bounds(array: "pa.Array[Any]") -> npt.NDArray[np.int32]:
    """Where in the data of an array each of its texts begins, and where the last ends."""
    bounds = array.buffers()[1]
    assert bounds is not None
    return np.frombuffer(memoryview(bounds), np.int32)[array.offset :][: len(array) + 1]


def _joined(array: "pa.Array[Any]") -> bytes:
    """All texts as one."""
    data, bounds = array.buffers()[2], _bounds(array)
    return data[int(bounds[0]) : int(bounds[-1])].to_pybytes() if data else b""


def _texts(texts: list[str], is_empty: npt.NDArray[np.bool_]) -> TextArray:
    array = np.array(texts, dtype=np.object_)
    array[is_empty] = ""
    return array


def _narrowed(values: npt.NDArray[np.int64]) -> SmallIntegers:
    limits = [np.iinfo(kind) for kind in (np.int8, np.int16, np.int32, np.int64)]
    least, most = values.min(), values.max()
    narrowest = next(limit for limit in limits if limit.min <= least and most <= limit.max)
    return values.astype(narrowest.dtype)


def _held(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    if len(values) > 1 and (values == values[0]).all():
        return np.broadcast_to(values[0], len(values))
    values.flags.writeable = False
    return values
