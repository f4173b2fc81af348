"""Reading and writing of JSON in a store, which is untrusted input. Pure: no I/O."""

import json
import math
import re
from fractions import Fraction
from typing import Any, Final, NoReturn

from framecache.errors import InvalidValue

MAX_BYTES: Final = 64 << 20
"""Maximum size of a document that is stored or read; parsed, it takes several times its size."""
MAX_VALUES: Final = 2 << 20
"""Maximum number of values. A value of one byte takes a hundred once parsed; framecache's own
values take 30 bytes of JSON each."""
MAX_DEPTH: Final = 32
"""Maximum nesting of lists and objects. framecache's own documents are less than 8 deep."""

_FRACTION: Final = re.compile(r"-?[0-9]+(/[0-9]+)?")


class InvalidDocument(ValueError):
    """Bytes that are not a JSON object, or exceed the limits of this module."""


def decode_object(body: bytes) -> dict[str, Any]:
    """Parse an untrusted JSON object; all its numbers are finite, all its strings encodable.

    Raises:
        InvalidDocument: the body is too long, has too many values, is nested too deep, is not JSON
            in UTF-8, or is not an object.
    """
    check_bounds(body)
    try:
        # Given bytes, json would accept other encodings, and lone surrogates.
        text = body.decode()
        document = _DECODER.decode(text)
    except RecursionError:
        raise InvalidDocument(f"it is nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise InvalidDocument(f"it is not valid JSON ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise InvalidDocument("it is not a JSON object")
    # Each level needs one of these signs, so most documents need not be searched.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(document)
    _check_surrogates(body, document)
    return document


def parse_fraction(value: object) -> Fraction:
    """Parse a fraction in the form that ``str`` writes.

    Raises:
        InvalidDocument: the value has another form. An exponent, for instance, could take unbounded
            memory.
    """
    if isinstance(value, str) and _FRACTION.fullmatch(value):
        # Faster than Fraction(value), which parses decimal numbers too.
        numerator, slash, denominator = value.partition("/")
        return Fraction(int(numerator), int(denominator)) if slash else Fraction(int(numerator))
    raise InvalidDocument("it has no fraction where one is expected")


def encode_object(document: dict[str, Any], *, what: str) -> bytes:
    """Encode a document as JSON for storing, and check that it can be read again.

    Raises:
        InvalidValue: the document could not be read again.
    """
    try:
        body = json.dumps(document, indent=1, allow_nan=False).encode()
        _check_depth(document)
        _check_surrogates(body, document)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"{what} cannot be stored: {error}") from error
    return check_encoded(body, what=what)


def check_encoded(body: bytes, *, what: str) -> bytes:
    """Return an encoded document unchanged if it is within the limits for reading.

    Raises:
        InvalidValue: the document exceeds a limit.
    """
    try:
        check_bounds(body)
    except InvalidDocument as error:
        raise InvalidValue(
            f"{what} has {len(body)} bytes, and could not be read again: {error}. Split it"
        ) from error
    return body


def check_bounds(body: bytes) -> None:
    """Reject a body that would take too much time or memory to parse.

    Raises:
        InvalidDocument: the body is too long, or has too many values.
    """
    if len(body) > MAX_BYTES:
        raise InvalidDocument(f"it is longer than {MAX_BYTES} bytes")
    # One of these signs precedes each value. Those inside strings are counted too.
    if len(body) > MAX_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise InvalidDocument(f"it has more than {MAX_VALUES} values")


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if math.isfinite(number):
        return number
    raise InvalidDocument("it has a number that is not finite")


def _reject_constant(name: str) -> NoReturn:
    raise InvalidDocument(f"{name} is not a number in JSON")


_DECODER: Final = json.JSONDecoder(parse_float=_parse_finite, parse_constant=_reject_constant)


def _check_depth(document: object) -> None:
    """Check the nesting level by level, without recursion, so that the stack cannot overflow."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            held
            for holder in level
            for held in (holder.values() if isinstance(holder, dict) else holder)  # type: ignore[attr-defined]
            if isinstance(held, dict | list)
        ]
        if not level:
            return
    raise InvalidDocument(f"it is nested more than {MAX_DEPTH} deep")


def _check_surrogates(body: bytes, document: object) -> None:
    """Reject lone surrogates, which can only come from escape sequences."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidDocument("it has a string that cannot be encoded") from error
