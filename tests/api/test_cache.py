"""`FrameCache`: the store that it opens, and the timelines that it lists."""

from pathlib import Path
from typing import Any

import pytest

from framecache import FrameCache, InvalidValue
from outside import frame, frames_of, jpeg_by_pillow, outside, png_by_pillow


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAMECACHE_URL", raising=False)
    monkeypatch.delenv("S3_BUCKET", raising=False)


def test_cache_opens_the_given_store(store_url: str) -> None:
    FrameCache(store_url).timeline("t").write([frame(0)])
    assert set(frames_of(outside(store_url), "t")) == {"0.jpg"}


def test_folder_may_be_a_path_or_a_file_url(tmp_path: Path) -> None:
    for place in (tmp_path / "a", str(tmp_path / "b"), (tmp_path / "c").as_uri()):
        FrameCache(place).timeline("t").write([frame(0)])
    for name in "abc":
        assert set(frames_of(outside(str(tmp_path / name)), "t")) == {"0.jpg"}


@pytest.mark.parametrize("kind", ["memory", "s3", pytest.param("ceph", marks=pytest.mark.ceph)])
def test_prefix_is_a_separate_cache(kind: str, request: pytest.FixtureRequest) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    FrameCache(f"{url}/a/b").timeline("t").write([frame(0)])
    assert "a/b/cache/timelines/t/frames/0.jpg" in outside(url).list()
    assert FrameCache(f"{url}/a/b/").timelines() == ["t"]
    assert FrameCache(f"{url}/a").timelines() == []
    assert FrameCache(url).timelines() == []


def test_store_comes_from_environment_without_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    FrameCache().timeline("t").write([frame(0)])
    assert set(frames_of(outside(str(tmp_path / ".framecache")), "t")) == {"0.jpg"}
    monkeypatch.setenv("S3_BUCKET", "a-bucket")
    assert FrameCache().url == "s3://a-bucket"
    monkeypatch.setenv("FRAMECACHE_URL", str(tmp_path / "elsewhere"))
    assert FrameCache().url == (tmp_path / "elsewhere").as_uri()


def test_empty_environment_variables_count_as_unset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S3_BUCKET", "")
    monkeypatch.setenv("FRAMECACHE_URL", "")
    assert FrameCache().url == (tmp_path / ".framecache").as_uri()


def test_caches_of_same_memory_url_share_their_blobs(memory_url: str) -> None:
    FrameCache(memory_url).timeline("t").write([frame(0)])
    assert FrameCache(memory_url).timeline("t").exists
    assert not FrameCache(f"{memory_url}x").timeline("t").exists


def test_memory_store_needs_no_name() -> None:
    FrameCache("memory://").timeline("t").write([frame(0)])
    assert FrameCache("memory://").timeline("t").exists
    FrameCache("memory://").timeline("t").delete()


@pytest.mark.every_store
def test_timelines_are_listed_in_order(store_url: str) -> None:
    cache = FrameCache(store_url)
    assert cache.timelines() == []
    for name in ("b", "a", "a-2", "B"):
        cache.timeline(name).write([frame(0)])
    outside(store_url).put("cache/timelines/foreign/frames/0.jpg", jpeg_by_pillow(1))
    cache.timeline("drawn").overlays(job_id="j", stage="s").save(0, {"o": png_by_pillow(1)})
    outside(store_url).put("something/else", b"x")
    assert cache.timelines() == ["B", "a", "a-2", "b", "drawn", "foreign"]


def test_timeline_handle_creates_no_timeline(store_url: str) -> None:
    cache = FrameCache(store_url)
    timeline = cache.timeline("t")
    assert timeline.timeline_id == "t"
    assert not timeline.exists
    assert cache.timelines() == []
    assert outside(store_url).list() == []


def test_repr_shows_url_of_cache_and_id_of_timeline(local_url: str) -> None:
    assert Path(local_url).as_uri() in repr(FrameCache(local_url))
    assert "match-42" in repr(FrameCache(local_url).timeline("match-42"))


@pytest.mark.parametrize(
    "given", [7, 1.5, True, ["a"], pytest.param(object(), id="object")], ids=repr
)
def test_url_or_local_cache_of_wrong_type_is_rejected(given: Any) -> None:  # noqa: ANN401 -- of any type
    with pytest.raises(InvalidValue, match="url is a path or the URL of a store, not"):
        FrameCache(given)
    with pytest.raises(InvalidValue, match="local_cache is the path of a folder, not"):
        FrameCache("memory://", local_cache=given)
