"""Ids of all allowed characters, as other programs find them in each store."""

import pytest

from framecache import Frame, FrameCache
from framecache._core.keys import ID_PATTERN
from outside import frame, jpeg_by_pillow, outside, png_by_pillow

ID = "2024-01-02T03:04:05+01:00,a=b@c~d._-"
PNG = png_by_pillow(1)


def test_sample_id_contains_every_allowed_special_character() -> None:
    allowed = {chr(n) for n in range(128) if ID_PATTERN.fullmatch(f"x{chr(n)}")}
    assert (
        {c for c in allowed if not c.isalnum()}
        == set(".:_@+=,~-")
        == {c for c in ID if not c.isalnum()}
    )


@pytest.mark.every_store
def test_stored_keys_are_those_that_other_programs_expect(store_url: str) -> None:
    timeline = FrameCache(store_url).timeline(ID)
    timeline.write([frame(0)])
    timeline.overlays(job_id=ID, stage=ID).save(7, {ID: PNG})
    found = outside(store_url)
    overlay = f"cache/timelines/{ID}/overlays/{ID}/{ID}/7_{ID}.png"
    assert found.list(f"cache/timelines/{ID}/overlays/") == [overlay]
    assert found.list(f"cache/timelines/{ID}/frames/") == [f"cache/timelines/{ID}/frames/0.jpg"]
    assert found.read(overlay) == PNG


@pytest.mark.every_store
def test_blobs_stored_by_other_programs_with_special_characters_are_found(store_url: str) -> None:
    blobs = outside(store_url)
    blobs.put(f"cache/timelines/{ID}/frames/3.jpg", jpeg_by_pillow(3))
    blobs.put(f"cache/timelines/{ID}/overlays/{ID}/{ID}/3_{ID}.png", PNG)
    cache = FrameCache(store_url)
    assert cache.timelines() == [ID]
    timeline = cache.timeline(ID)
    assert [one.sequence for one in timeline.frames()] == [3]
    assert timeline.jobs() == {ID: {ID: 1}}
    assert timeline.overlays(job_id=ID, stage=ID).load(3) == {ID: PNG}


@pytest.mark.parametrize("character", sorted({*".:_@+=,~-"}))
@pytest.mark.every_store
def test_ids_that_differ_in_one_character_name_separate_timelines(
    store_url: str, character: str
) -> None:
    cache = FrameCache(store_url)
    names = [f"a{character}b", "ab"]
    for number, name in enumerate(names):
        cache.timeline(name).write([frame(0, number=number + 1)])
    cache.timeline(names[0]).delete()
    assert cache.timelines() == ["ab"]
    assert isinstance(cache.timeline("ab").frame(0), Frame)
    assert f"cache/timelines/{names[0]}/frames/0.jpg" not in outside(store_url).list()
