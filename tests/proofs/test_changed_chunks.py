"""A chunk changes, or its store answers wrongly, at any request: no other picture is returned.

The expected frames are those that an extraction of the unchanged chunk stores.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
from chunk_changes import CHUNK_CHANGES, TROUBLES, Trouble, changed_chunk, put_chunk
from invariants import contents, forget_chunks

import media
from framecache import ChunkChanged, FrameCache, StoreUnavailable, Timeline, UnreadableChunk
from framecache._media.video import description
from framecache.store import known_blob, remote_chunk
from framecache.store.base import Store
from proving import Proof

FRAMES: Final = 40
PICKED: Final = [23, 25, 3, 38, 24]
"""Frames of three groups of pictures, with neighbors and in no order."""
READERS: Final[dict[str, Callable[[Timeline], list[bytes]]]] = {
    "jpeg": lambda timeline: [timeline.jpeg(n) for n in PICKED],
    "frame": lambda timeline: [timeline.frame(n).image.tobytes() for n in PICKED],
    "frame_at": lambda timeline: [timeline.frame_at(n / 25).image.tobytes() for n in PICKED],
    "frames": lambda timeline: [frame.image.tobytes() for frame in timeline.frames()],
    "batch": lambda timeline: [one.tobytes() for one in timeline.batch(PICKED)],
    "jpegs": lambda timeline: list(timeline.jpegs(PICKED)),
}
TYPED: Final = (ChunkChanged, UnreadableChunk, StoreUnavailable)


@dataclass(frozen=True)
class Scene:
    """A chunk, a timeline that stores its frames, and one that decodes them."""

    store: Store
    stored: Timeline
    other: bytes
    """Another video."""

    def watched(self) -> Timeline:
        """Open the timeline of layout ``video`` in a program that has decoded nothing."""
        forget_chunks()
        timeline = Timeline(self.store, "watched")
        assert len(timeline) == FRAMES
        return timeline


def clip(name: str, pattern: str) -> bytes:
    """Return a video of noise, whose groups of pictures are far longer than what opening reads."""
    extra = ["-g", "10", "-bf", "2", "-sc_threshold", "0", "-movflags", "+faststart"]
    path = media.made(
        name,
        lambda path: media.make_clip(
            path, frames=FRAMES, source=pattern, filters="noise=c0s=60:c0f=t", extra=extra
        ),
    )
    return path.read_bytes()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    # A group of pictures is fetched by several requests, as in a video of megabytes.
    monkeypatch.setattr(description, "_MAX_GAP_BYTES", 0)
    monkeypatch.setattr(known_blob, "_FIRST_BYTES", 2**14)
    monkeypatch.setattr(known_blob, "_KEPT_BYTES", 2**16)
    monkeypatch.setattr(remote_chunk, "_BLOCK_SIZE_BYTES", 2**16)
    cache = FrameCache(f"memory://{uuid.uuid4().hex}")
    url = put_chunk(cache.url, clip("proof-changed.mp4", "testsrc2=size=160x120:rate=25"))
    stored = cache.timeline("stored")
    stored.extract(url, workers=1)
    cache.timeline("watched").extract(url, layout="video", workers=1)
    return Scene(
        cache.store, stored, clip("proof-changed-other.mp4", "smptebars=size=160x120:rate=25")
    )


@pytest.mark.parametrize("how", READERS)
def test_changed_chunk_never_gives_another_picture(scene: Scene, proof: Proof, how: str) -> None:
    read = READERS[how]
    expected = read(scene.stored)
    timeline = scene.watched()
    with changed_chunk(None) as requests:
        assert read(timeline) == expected
    assert requests.count >= 3
    tried = refused = 0
    for after in range(requests.count):
        for trouble in TROUBLES if proof.is_long else TROUBLES[after % 4 :: 4]:
            tried += 1
            timeline = scene.watched()
            with changed_chunk(trouble, scene.other, after=after):
                refused += is_refused(read, timeline, expected)
            assert read(timeline) == expected, f"after {trouble.name} at {after}"
    assert refused > tried / 2
    proof.found(changes=tried, refused=refused)


def is_refused(
    read: Callable[[Timeline], list[bytes]], timeline: Timeline, expected: list[bytes]
) -> bool:
    """Return True if a read raises a typed error; otherwise it must give the right frames."""
    try:
        found = read(timeline)
    except TYPED:
        return True
    assert found == expected
    return False


@pytest.mark.parametrize("trouble", CHUNK_CHANGES, ids=lambda trouble: trouble.name)
def test_frame_of_a_changed_chunk_that_was_not_read_is_refused(
    scene: Scene, trouble: Trouble
) -> None:
    timeline = scene.watched()
    with changed_chunk(trouble, scene.other):
        for read in READERS.values():
            with pytest.raises(ChunkChanged):
                read(timeline)


def test_chunk_that_changes_during_a_repack_changes_nothing(scene: Scene, proof: Proof) -> None:
    before = contents(scene.store)
    with changed_chunk(None) as requests:
        scene.watched().repack("packs", workers=1)
    assert READERS["jpeg"](scene.watched()) == READERS["jpeg"](scene.stored)
    tried = 0
    for after in range(requests.count):
        for trouble in TROUBLES if proof.is_long else TROUBLES[after % 4 :: 4]:
            restore_timeline(scene.store, before)
            tried += 1
            with changed_chunk(trouble, scene.other, after=after), pytest.raises(TYPED):
                scene.watched().repack("packs", workers=1)
            left = {key: body for key, body in contents(scene.store).items() if not is_used(key)}
            assert left == {key: body for key, body in before.items() if not is_used(key)}
    proof.found(changes=tried)


def restore_timeline(store: Store, blobs: dict[str, bytes]) -> None:
    """Restore the timeline; the chunk stays, since its ETag changes when it is stored again."""
    now = contents(store)
    store.delete([key for key in now if key not in blobs])
    for key, body in blobs.items():
        if now.get(key) != body:
            store.put(key, body)


def is_used(key: str) -> bool:
    """Return True for the time of the last use of a timeline."""
    return key.endswith("/used")
