"""Invalid contents in place of a JSON document."""

import json
import tracemalloc
from fractions import Fraction
from typing import Any

import pytest

from framecache._core import json_documents
from framecache._core.json_documents import InvalidDocument, decode_object
from framecache.errors import InvalidValue


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_decoded_object_equals_that_of_json_loads() -> None:
    body = json.dumps({"a": [1, 2.5, None, {"b": "é\U0001f600"}], "c": True}).encode()
    assert decode_object(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b'"text"',
        b'{"a": 1',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        nested(200_000),
        nested(500),
        nested(json_documents.MAX_DEPTH + 1),
        b'{"a":' + b"[" * json_documents.MAX_DEPTH + b"]" * json_documents.MAX_DEPTH + b"}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        rb'{"a": ["\ud800"]}',
        rb'{"\uDFFF": 1}',
        b'{"a": "\xed\xa0\x80"}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": "\ud800"}'.encode("utf-16", "surrogatepass"),
        '{"a": 1}'.encode("utf-32-le"),
        '{"a": 1}'.encode("utf-8-sig"),
    ],
)
def test_invalid_document_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidDocument):
        decode_object(body)


def test_document_of_maximum_depth_is_read() -> None:
    assert decode_object(nested(json_documents.MAX_DEPTH)) == json.loads(
        nested(json_documents.MAX_DEPTH)
    )


def test_too_long_document_is_refused_on_encode_and_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"a": "b" * 100}).encode()
    monkeypatch.setattr(json_documents, "MAX_BYTES", len(body))
    assert decode_object(json_documents.check_encoded(body, what="it"))
    with pytest.raises(InvalidDocument, match="longer"):
        decode_object(body + b" ")
    with pytest.raises(InvalidValue, match="it has"):
        json_documents.check_encoded(body + b" ", what="it")


@pytest.mark.parametrize("value", [b"{}", b"[]", b'"a"', b"1.5", b'{"a":1}'])
def test_too_many_values_are_refused_before_they_take_memory(value: bytes) -> None:
    body = b'{"a":[' + b",".join([value] * (json_documents.MAX_VALUES + 1)) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDocument, match="more than 2097152 values"):
            decode_object(body)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_document_with_too_many_values_is_not_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"a": [1, 2, 3]}
    monkeypatch.setattr(json_documents, "MAX_VALUES", 4)
    assert decode_object(json_documents.encode_object(document, what="it")) == document
    monkeypatch.setattr(json_documents, "MAX_VALUES", 3)
    with pytest.raises(InvalidValue, match="it has"):
        json_documents.encode_object(document, what="it")


def test_encoded_object_is_read_by_json_loads() -> None:
    document = {"a": [1, 2.5, None, {"b": "é\U0001f600"}], "c": True}
    assert json.loads(json_documents.encode_object(document, what="it")) == document


_DEEP: Any = json.loads(nested(json_documents.MAX_DEPTH + 1))


@pytest.mark.parametrize("value", ["\ud800", "a\udfff", float("nan"), float("inf"), _DEEP])
def test_document_that_could_not_be_decoded_is_not_encoded(value: object) -> None:
    with pytest.raises(InvalidValue, match="it cannot be stored"):
        json_documents.encode_object({"a": value}, what="it")


def test_surrogate_pair_escape_is_decoded_as_one_character() -> None:
    assert decode_object(rb'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize("value", [Fraction(0), Fraction(-1001, 30000), Fraction(10**40, 3)])
def test_fraction_survives_a_round_trip(value: Fraction) -> None:
    assert json_documents.parse_fraction(str(value)) == value


@pytest.mark.parametrize("text", ["1e999999999", "0.1", "1/-2", " 1", "", None, 1, 0.5, "１"])
def test_invalid_fraction_is_refused(text: object) -> None:
    with pytest.raises(InvalidDocument):
        json_documents.parse_fraction(text)
