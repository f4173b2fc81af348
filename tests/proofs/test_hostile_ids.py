"""Hostile ids and sequences: refused by every public function before any request is made.

Valid ids are determined by plain loops over characters, not by framecache's pattern.
"""

import base64
import enum
import random
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np
import pytest

from framecache import Frame, FrameCache, InvalidId, InvalidValue, Overlays, Timeline, functional
from framecache.store import open_store
from framecache.store.atomic_create import unwrap_store
from framecache.testing import HookedStore
from outside import png_by_pillow
from proving import Proof

LETTERS_AND_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
OTHERS: Final = "._:@+=,~-"
PNG: Final = png_by_pillow(0)
PNG_B64: Final = base64.b64encode(PNG).decode()


def is_valid(value: object) -> bool:
    """Return True if the design allows a value as an id: 1 to 128 allowed characters."""
    if not isinstance(value, str):
        return False
    text = "".join(str.__getitem__(value, n) for n in range(str.__len__(value)))
    if not 1 <= len(text) <= 128 or text[0] not in LETTERS_AND_DIGITS:
        return False
    before = ""
    for character in text:
        if character not in LETTERS_AND_DIGITS and character not in OTHERS:
            return False
        if before == character == ".":
            return False
        before = character
    return True


# Ids


UGLY: Final[list[str]] = [
    *["", " ", ".", "..", "...", "-", "_", "~", "/", "\\", "\0", "\n", "\t", "#", "?", "*", "%"],
    *["../t", "..\\t", "t/../u", "t/..", "./t", "t/.", "/etc/passwd", "//t", "t//u", "t/", "a/b"],
    *["C:", "C:\\t", "\\\\host\\share", "file:///t", "s3://t", "http://t/", "~root", "$HOME"],
    *["t..u", "t..", "a" * 129, "a" * 4096, "a" * 1_000_000, ".hidden", "-rf", "_t", "t\0", "\0t"],
    *["%2e%2e", "%2F", "..%2f", "%252e%252e%252f", "..%c0%af", "%00", "t%0a", "&#46;&#46;", "t+u"],
    *["t\n", "t\r\n", "\nt", "t\x0b", "t\x0c", "t\x1c", "t\x85", "t\u2028", "t\u2029", "t "],
    *["\u200bt", "t\u200b", "t\u200du", "\ufefft", "t\u2060", "\u202et", "\u2066t\u2069", "t\xad"],
    *["\u2024\u2024", "\u2025", "\u2026", "\uff0e\uff0e", "\uff0f", "\uff3c", "\u2215", "\ufe68"],
    *["\u0430", "\u03bf", "\u2160", "\ufb01", "\uff41", "\uff11", "\u0663", "\xb2", "e\u0301"],
    *["\xe9", "\xdf", "\u0130", "\u0131", "\u212a", "\u212b", "\U0001d41a", "\U0001f39e", "\u017f"],
    *["\ud800", "t\udfff", "\udc2e\udc2e", "\U0010ffff", "\x7f", "\x80", "\xa0", "t\u3000"],
    *["a:b", "a;b", "a|b", "a&b", "a'b", 'a"b', "a`b`", "$(a)", "{a}", "<a>", "a=b", "a@b", "a,b"],
]
NO_TEXTS: Final[list[object]] = [
    *[None, True, False, 0, 1, -1, 10**30, 1.5, float("nan"), 1j, b"t", bytearray(b"t")],
    *[memoryview(b"t"), ["t"], ("t",), {"t"}, {"t": 1}, object(), str, Ellipsis, Fraction(1, 2)],
    *[uuid.UUID(int=1), np.int64(1), np.bytes_(b"t"), np.array("t"), np.array(["t"])],
]
DEVICES: Final = ["CON", "nul", "COM1", "LPT9.txt", "aux.", "PRN", "CLOCK$", "CONIN$"]


def hostile(choose: random.Random, count: int) -> Iterator[object]:
    """Values of which most cannot be ids; those of which some can are valid by chance."""
    yield from UGLY
    yield from NO_TEXTS
    yield from DEVICES
    for number in range(count - len(UGLY) - len(NO_TEXTS) - len(DEVICES)):
        yield _MAKERS[number % len(_MAKERS)](choose)


def valid(choose: random.Random) -> str:
    """A random id that the design allows."""
    first = choose.choice(LETTERS_AND_DIGITS)
    text = first + "".join(
        choose.choices(LETTERS_AND_DIGITS + OTHERS, k=choose.choice([0, 1, 5, 30, 127]))
    )
    while ".." in text:
        text = text.replace("..", ".")
    return text


def _with_an_ugly_part(choose: random.Random) -> object:
    text, at = valid(choose), choose.randrange(3)
    position = [0, len(text), choose.randrange(len(text) + 1)][at]
    return text[:position] + choose.choice(UGLY[:-1]) + text[position:]


def _with_any_character(choose: random.Random) -> object:
    text = [*valid(choose)]
    highest = choose.choice([0x80, 0x3000, 0x110000])
    text[choose.randrange(len(text))] = chr(choose.randrange(highest))
    return "".join(text)


def _path(choose: random.Random) -> object:
    parts = ["..", ".", "", "a", "etc", "%2e%2e", "\uff0e\uff0e", "cache", "timelines", "frames"]
    joint = choose.choice(["/", "\\", "\u2215", "%2f", "/./", "//"])
    return joint.join(choose.choices(parts, k=choose.randrange(2, 8)))


def _too_long(choose: random.Random) -> object:
    return choose.choice(LETTERS_AND_DIGITS) * choose.choice([127, 128, 129, 130, 255, 256, 1025])


def _dots(choose: random.Random) -> object:
    return "".join(choose.choices("a.", k=choose.randrange(1, 9)))


def _encoded(choose: random.Random) -> object:
    text = valid(choose)
    return choose.choice(
        [
            text.encode(),
            text.encode("utf-16").decode("latin-1"),
            "".join(f"%{ord(character):02x}" for character in text),
            text.translate({ord("a") + n: 0xFF41 + n for n in range(26)}),
        ]
    )


def _valid_by_chance(choose: random.Random) -> object:
    return "".join(chr(choose.randrange(0x20, 0x80)) for _ in range(choose.randrange(1, 4)))


def _number(choose: random.Random) -> object:
    return choose.choice([choose.randrange(10**9), choose.random(), -choose.randrange(9), None])


_MAKERS: Final[list[Callable[[random.Random], object]]] = [
    _with_an_ugly_part,
    _with_any_character,
    _path,
    _too_long,
    _dots,
    _encoded,
    _valid_by_chance,
    _number,
]


# Every public function that takes an id


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> HookedStore:
    """The store of every cache that the test opens."""
    url = f"memory://{uuid.uuid4().hex}"
    hooked = HookedStore(open_store(url))
    monkeypatch.setenv("FRAMECACHE_URL", url)
    monkeypatch.setattr("framecache.cache.open_store", lambda *_: hooked)
    assert unwrap_store(FrameCache().store) is hooked
    return hooked


def by_timeline_id(store: HookedStore) -> list[Callable[[Any], object]]:
    cache = FrameCache()
    return [
        cache.timeline,
        lambda bad: Timeline(store, bad),
        lambda bad: Overlays(store, bad, job_id="j", stage="s"),
        functional.cache_exists,
        lambda bad: functional.cache_frames(bad, []),
        functional.load_cached_frames,
        functional.load_cached_frames_b64,
        lambda bad: functional.save_overlays(bad, "j", "s", 0, {"n": PNG_B64}),
        lambda bad: functional.load_overlays(bad, "j", "s", 0),
        lambda bad: functional.list_overlay_frames(bad, "j", "s"),
        functional.clear_cache,
    ]


def by_job_id(store: HookedStore) -> list[Callable[[Any], object]]:
    timeline = FrameCache().timeline("t")
    return [
        lambda bad: timeline.overlays(job_id=bad, stage="s"),
        lambda bad: Overlays(store, "t", job_id=bad, stage="s"),
        lambda bad: functional.save_overlays("t", bad, "s", 0, {"n": PNG_B64}),
        lambda bad: functional.load_overlays("t", bad, "s", 0),
        lambda bad: functional.list_overlay_frames("t", bad, "s"),
    ]


def by_stage(store: HookedStore) -> list[Callable[[Any], object]]:
    timeline = FrameCache().timeline("t")
    return [
        lambda bad: timeline.overlays(job_id="j", stage=bad),
        lambda bad: Overlays(store, "t", job_id="j", stage=bad),
        lambda bad: functional.save_overlays("t", "j", bad, 0, {"n": PNG_B64}),
        lambda bad: functional.load_overlays("t", "j", bad, 0),
        lambda bad: functional.list_overlay_frames("t", "j", bad),
    ]


class Named(dict[Any, Any]):
    """A mapping with one name, which need not be hashable."""

    def __init__(self, name: object, overlay: object) -> None:
        super().__init__()
        self._item = (name, overlay)

    def items(self) -> Any:  # noqa: ANN401 -- of a dict of anything
        return [("sound", self._item[1]), self._item]


def puts(store: HookedStore) -> list[str]:
    return [key for action, key in store.requests if action == "put"]


def by_overlay_name(_: HookedStore) -> list[Callable[[Any], object]]:
    overlays = FrameCache().timeline("t").overlays(job_id="j", stage="s")
    return [
        lambda bad: overlays.save(0, Named(bad, PNG)),
        lambda bad: functional.save_overlays("t", "j", "s", 0, Named(bad, PNG_B64)),
    ]


Functions = Callable[[HookedStore], list[Callable[[Any], object]]]
EACH_KIND_OF_ID: Final[list[Functions]] = [by_timeline_id, by_job_id, by_stage, by_overlay_name]


@pytest.mark.parametrize("functions", EACH_KIND_OF_ID, ids=lambda each: each.__name__)
def test_invalid_id_is_rejected_before_any_request(
    store: HookedStore, functions: Functions, proof: Proof
) -> None:
    tried, calls = proof.size(short=2_500, long=250_000), functions(store)
    refused = 0
    for value in hostile(random.Random(functions.__name__), tried):
        if is_valid(value):
            calls[0](value)
            store.requests.clear()
            continue
        for call in calls:
            refuses(call, value)
        refused += 1
        assert store.requests == [], value
    assert tried * 0.7 < refused < tried
    proof.found(hostile_ids=tried, refused=refused, functions=len(calls))


def refuses(call: Callable[[Any], object], value: object) -> None:
    try:
        call(value)
    except InvalidId as error:
        assert len(str(error)) < 300  # noqa: PT017 -- pytest.raises takes most of the time
    else:
        pytest.fail(f"{ascii(value)[:100]} was taken for an id")


def test_valid_id_is_accepted_and_stays_within_its_prefix(store: HookedStore, proof: Proof) -> None:
    choose, taken = random.Random(1), proof.size(short=1_000, long=20_000)
    for _ in range(taken):
        timeline_id, job_id, stage, name = (valid(choose) for _ in range(4))
        assert all(map(is_valid, (timeline_id, job_id, stage, name)))
        store.requests.clear()
        functional.save_overlays(timeline_id, job_id, stage, 7, {name: PNG_B64})
        prefix = f"cache/timelines/{timeline_id}/overlays/{job_id}/{stage}/"
        assert puts(store) == [f"{prefix}7_{name}.png"]
        of_the_timeline = f"cache/timelines/{timeline_id}/"
        assert all(key.startswith(of_the_timeline) for _, key in store.requests)
        assert functional.load_overlays(timeline_id, job_id, stage, 7) == {name: PNG_B64}
        assert functional.list_overlay_frames(timeline_id, job_id, stage) == [7]
        assert not functional.cache_exists(timeline_id)
        store.delete([f"{prefix}7_{name}.png"])
    proof.found(valid_ids=taken)


# Strings that misreport their value


class Lying(str):  # noqa: SLOT000 -- as a caller would write it
    """Says of itself what it is not; its characters are those it was made of."""

    def __str__(self) -> str:
        return "../../elsewhere"

    def __format__(self, _: str) -> str:
        return "../../elsewhere"

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("t")

    def __len__(self) -> int:
        return 1

    def __contains__(self, _: object) -> bool:
        return False

    def __iter__(self) -> Iterator[str]:
        return iter("t")

    def __repr__(self) -> str:
        return "'t'"

    def fullmatch(self, _: object) -> bool:
        return True


LYING: Final = [*UGLY, *DEVICES, "t", "good-id", "a..b", "7"]


@pytest.mark.parametrize("functions", EACH_KIND_OF_ID, ids=lambda each: each.__name__)
def test_str_subclass_with_misleading_methods_is_used_by_its_characters(
    store: HookedStore, functions: Functions
) -> None:
    for text in LYING:
        for call in functions(store):
            store.requests.clear()
            if is_valid(text):
                call(Lying(text))
                assert all("elsewhere" not in key for _, key in store.requests)
            else:
                refuses(call, Lying(text))
                assert store.requests == []


# Sequences


class Whole(enum.IntEnum):
    SEVEN = 7


class Liar(int):
    """A number that says it is another one."""

    def __index__(self) -> int:
        return 7

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7

    def __lt__(self, _: object) -> bool:
        return False

    def __le__(self, _: object) -> bool:
        return True


GOOD_SEQUENCES: Final[list[Any]] = [
    *[0, 1, 7, 10**15 - 1, Whole.SEVEN],
    *[np.int8(7), np.uint8(255), np.int16(7), np.uint32(7), np.int64(10**15 - 1), np.uint64(7)],
]
BAD_SEQUENCES: Final[list[Any]] = [
    *[-1, -(10**30), 10**15, 10**18, 2**63, 2**64, 10**30, True, False, Liar(-1), Liar(10**15)],
    *[0.0, 1.0, 1.5, -0.0, float("nan"), float("inf"), 1j, Fraction(1), Decimal(1)],
    *["0", "1", "\u0663", "", "abc", "../1", b"1", None, [1], (1,), {1}, object(), Ellipsis, int],
    *[np.int64(-1), np.uint64(2**64 - 1), np.float64(1), np.float32(1), np.bool_(True)],
    *[np.str_("1"), np.array([1]), np.array([1, 2]), np.array(1.0), np.datetime64(1, "s")],
]


def hostile_sequences(choose: random.Random, count: int) -> Iterator[Any]:
    yield from BAD_SEQUENCES
    for number in range(count - len(BAD_SEQUENCES)):
        size = 1 << choose.randrange(1, 80)
        yield [
            -choose.randint(1, size),
            10**15 + choose.randrange(size),
            choose.uniform(-size, size),
            str(choose.randrange(size)),
            np.int64(-choose.randint(1, min(size, 2**62))),
            np.float64(choose.randrange(size)),
        ][number % 6]


HUGE: Final = 10**5000
"""More digits than Python writes out."""


def by_sequence(_: HookedStore) -> list[Callable[[Any], object]]:
    timeline = FrameCache().timeline("t")
    overlays = timeline.overlays(job_id="j", stage="s")
    return [
        timeline.frame,
        timeline.jpeg,
        lambda bad: timeline.batch([0, bad]),
        lambda bad: timeline.jpegs([0, bad]),
        lambda bad: overlays.save(bad, {"n": PNG}),
        overlays.load,
        lambda bad: functional.save_overlays("t", "j", "s", bad, {"n": PNG_B64}),
        lambda bad: functional.load_overlays("t", "j", "s", bad),
    ]


def by_range(_: HookedStore) -> list[Callable[[Any], object]]:
    timeline = FrameCache().timeline("t")
    return [
        lambda bad: next(timeline.frames(bad)),
        lambda bad: next(timeline.frames(0, bad)),
        lambda bad: timeline.sequences(bad, 5),
        lambda bad: timeline.sequences(0, bad),
    ]


def test_invalid_sequence_is_rejected_before_any_request(store: HookedStore, proof: Proof) -> None:
    calls, tried = by_sequence(store), proof.size(short=4_000, long=100_000)
    for value in hostile_sequences(random.Random(2), tried):
        for call in calls:
            refuses_value(call, value)
        assert store.requests == [], repr(value)
    proof.found(hostile_sequences=tried, functions=len(calls))


def test_invalid_sequence_is_rejected_as_the_end_of_a_range(
    store: HookedStore, proof: Proof
) -> None:
    tried = proof.size(short=500, long=10_000)
    values = [value for value in hostile_sequences(random.Random(3), tried) if value is not None]
    for value in values:
        for call in by_range(store):
            refuses_value(call, value)
    assert [*store.requests] == []
    proof.found(hostile_ends=len(values))


@pytest.mark.parametrize("value", BAD_SEQUENCES, ids=lambda value: type(value).__name__)
def test_frame_with_an_invalid_sequence_is_not_stored(store: HookedStore, value: Any) -> None:  # noqa: ANN401
    frame = Frame(value, 0, 0.0, np.zeros((8, 8, 3), dtype=np.uint8), "")
    refuses_value(lambda bad: functional.cache_frames("t", [bad]), frame)
    assert [*store.inner.list("cache/timelines/t/frames/")] == []


def refuses_value(call: Callable[[Any], object], value: object) -> None:
    try:
        call(value)
    except InvalidValue as error:
        assert len(str(error)) < 300  # noqa: PT017 -- pytest.raises takes most of the time
    else:
        pytest.fail(f"{ascii(value)[:100]} was taken for a sequence")


def test_huge_integer_is_rejected_with_a_typed_error(store: HookedStore) -> None:
    for functions in EACH_KIND_OF_ID:
        for call in functions(store):
            refuses(call, HUGE)
    for call in by_sequence(store):
        refuses_value(call, HUGE)
        refuses_value(call, -HUGE)
    assert store.requests == []


def test_invalid_sequence_is_rejected_even_without_overlays(store: HookedStore) -> None:
    overlays = FrameCache().timeline("t").overlays(job_id="j", stage="s")
    refuses_value(lambda bad: overlays.save(bad, {}), -1)
    assert store.requests == []


@pytest.mark.parametrize("value", GOOD_SEQUENCES, ids=ascii)
def test_valid_sequence_is_accepted_as_its_integer_value(store: HookedStore, value: Any) -> None:  # noqa: ANN401
    functional.save_overlays("t", "j", "s", value, {"n": PNG_B64})
    assert puts(store) == [f"cache/timelines/t/overlays/j/s/{int(value)}_n.png"]
    assert functional.load_overlays("t", "j", "s", value) == {"n": PNG_B64}
    assert functional.list_overlay_frames("t", "j", "s") == [int(value)]
