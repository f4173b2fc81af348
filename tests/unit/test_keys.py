"""Ids are validated before any key is made, and keys are the public format."""

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framecache._core import keys
from framecache.errors import InvalidId

FIRST = string.ascii_letters + string.digits
GOOD = st.builds(
    str.__add__,
    st.sampled_from(FIRST),
    st.text(alphabet=FIRST + "._-", max_size=127).filter(lambda tail: ".." not in tail),
).filter(lambda text: ".." not in text)
HOSTILE = [
    "",
    ".",
    "..",
    "a..b",
    "a/b",
    "/a",
    "a\\b",
    "-a",
    "_a",
    ".a",
    "a b",
    "a\n",
    "a\x00",
    "ä",
    "a%2fb",
    "x" * 129,
    "x" * 10_000,
    "a?",
    "a#1",
]


@given(GOOD)
def test_valid_id_is_returned_unchanged(text: str) -> None:
    assert keys.check_id(text, what="timeline_id") == text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_id_is_refused_in_every_key(text: str) -> None:
    makers: list[Callable[[], str]] = [
        lambda: keys.frame(text, 0),
        lambda: keys.manifest(text, 1),
        lambda: keys.overlays_prefix("t", text),
        lambda: keys.overlays_prefix("t", "j", text),
        lambda: keys.overlay("t", "j", "s", 0, text),
    ]
    for make in makers:
        with pytest.raises(InvalidId) as caught:
            make()
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()


@given(st.text())
def test_any_text_is_a_valid_id_or_refused(text: str) -> None:
    try:
        key = keys.frame(text, 1)
    except InvalidId:
        return
    assert key == f"cache/timelines/{text}/frames/1.jpg"
    assert keys.ID_PATTERN.fullmatch(text)


@pytest.mark.parametrize("value", [None, 3, b"a", ["a"]])
def test_id_that_is_not_a_string_is_refused(value: object) -> None:
    with pytest.raises(InvalidId):
        keys.check_id(value, what="job_id")


def test_timeline_id_is_parsed_from_a_key() -> None:
    assert keys.timeline_id_of(keys.frame("match-42", 7)) == "match-42"
    assert keys.timeline_id_of(keys.index_part("match-42", epoch="e", part="000000")) == "match-42"
    for other in ("", "frames/0.jpg", "cache/timelines/", "cache/timelines/a..b/frames/0.jpg"):
        assert keys.timeline_id_of(other) is None


def test_frame_and_overlay_keys_have_their_public_names() -> None:
    assert keys.frame("match-42", 120) == "cache/timelines/match-42/frames/120.jpg"
    assert (
        keys.overlay("match-42", "run-7", "edges", 120, "edge_overlay")
        == "cache/timelines/match-42/overlays/run-7/edges/120_edge_overlay.png"
    )
    assert keys.index_part("t", epoch="e", part=keys.chunk_part(3)) == (
        "cache/timelines/t/index/e/000003-0.parquet"
    )


@given(st.integers(0, 10**15 - 1))
def test_frame_key_round_trips_its_sequence(sequence: int) -> None:
    assert keys.parse_frame("t", keys.frame("t", sequence)) == sequence


@pytest.mark.parametrize(
    "name", ["thumbs/3.jpg", "01.jpg", "-1.jpg", "a.jpg", "1.jpeg", "1.jpg.tmp", "", "1"]
)
def test_other_names_among_frames_are_not_frame_keys(name: str) -> None:
    assert keys.parse_frame("t", f"cache/timelines/t/frames/{name}") is None


@given(st.integers(0, 10**15 - 1), GOOD)
def test_overlay_key_round_trips_its_sequence_and_name(sequence: int, name: str) -> None:
    assert keys.parse_overlay(keys.overlay("t", "j", "s", sequence, name)) == (sequence, name)


@pytest.mark.parametrize(
    "part", ["000000", "000123", "1234567", "w000000", "w1234567", keys.WRITTEN]
)
def test_pack_key_round_trips_its_part_and_epoch(part: str) -> None:
    key = keys.pack("t", epoch="000001-0123abcd", part=part, attempt="0123456789abcdef")
    assert key == f"cache/timelines/t/packs/000001-0123abcd/{part}-0123456789abcdef.tar"
    assert keys.parse_pack("t", key) == part
    assert keys.parse_epoch("t", key) == "000001-0123abcd"
    assert keys.parse_pack("u", key) is None
    assert keys.parse_frame("t", key) is None


@pytest.mark.parametrize(
    "key",
    [
        "cache/timelines/t/packs/000000-0123456789abcdef.tar",
        "cache/timelines/t/packs/1-0123abcd/000000-0123456789abcdef.tar",
        "cache/timelines/t/packs/000001-0123abcd/000000.tar",
        "cache/timelines/t/packs/000001-0123abcd/000000-0123456789abcdef.tar.tmp",
        "cache/timelines/t/packs/000001-0123abcd/000000-0123456789ABCDEF.tar",
        "cache/timelines/t/packs/000001-0123abcd/00000-0123456789abcdef.tar",
        "cache/timelines/t/packs/000001-0123abcd/x/000000-0123456789abcdef.tar",
        "cache/timelines/t/packs/000001-0123abcd/ww000000-0123456789abcdef.tar",
        "cache/timelines/t/frames/000001-0123abcd/000000-0123456789abcdef.tar",
    ],
)
def test_other_names_among_packs_are_not_pack_keys(key: str) -> None:
    assert keys.parse_pack("t", key) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("000012-3.parquet", ("000012", 3)),
        ("w000012-0.parquet", ("w000012", 0)),
        ("timeline-7.parquet", ("timeline", 7)),
        ("_timeline-7.compacted", ("_timeline", 7)),
        ("_timeline-7.parquet", None),
        ("timeline-7.compacted", None),
        ("000012-3.compacted", None),
        ("000012-03.parquet", None),
    ],
)
def test_index_key_is_parsed_into_part_and_generation(
    name: str, expected: tuple[str, int] | None
) -> None:
    assert keys.parse_index(f"cache/timelines/t/index/000001-0123abcd/{name}") == expected
