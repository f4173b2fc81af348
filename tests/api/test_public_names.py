"""The public names. A name that is removed or added unintentionally fails here."""

import dataclasses
import inspect

import pytest

import framecache
from framecache import (
    Chunk,
    ExtractReport,
    Frame,
    FrameCache,
    FrameCacheError,
    Index,
    Overlays,
    Progress,
    Timeline,
)


def members(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def parameters(function: object) -> str:
    """A signature without annotations."""
    assert callable(function)
    found_signature = inspect.signature(function)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in found_signature.parameters.values()
    ]
    return str(inspect.Signature(bare))


def test_package_exports_these_names() -> None:
    assert set(framecache.__all__) == {
        "S3_STANDARD",
        "AmbiguousFrame",
        "FrameTranslation",
        "VlmClip",
        "UnreadableChunk",
        "Chunk",
        "ChunkChanged",
        "ChunkTiming",
        "ClusterUnavailable",
        "TimelineCleared",
        "CorruptFrame",
        "ExportReport",
        "ExtractPlan",
        "ExtractReport",
        "Filmstrip",
        "Finding",
        "Footprint",
        "Frame",
        "FrameCache",
        "FrameCacheError",
        "FrameComparison",
        "ImportReport",
        "Index",
        "InvalidId",
        "InvalidValue",
        "LateChunk",
        "DecoderWarning",
        "LocalCacheWarning",
        "MissingPackage",
        "NotCached",
        "OutOfTime",
        "OverlayListing",
        "Overlays",
        "PlannedChunk",
        "Prices",
        "Progress",
        "RenditionsReport",
        "RepackReport",
        "Requests",
        "Scene",
        "SettingsConflict",
        "SpriteMap",
        "SpriteSheet",
        "Sprites",
        "StageCounts",
        "StorePermissionDenied",
        "StoreFull",
        "StoreUnavailable",
        "StoreWarning",
        "Timeline",
        "TimelineInfo",
        "UndecodableFrame",
        "VerifyReport",
        "WriteReport",
        "__version__",
    }
    assert all(hasattr(framecache, name) for name in framecache.__all__)


def test_cache_has_these_members() -> None:
    assert members(FrameCache) == {
        "frames_table",
        "plan_gc",
        "store",
        "timeline",
        "timelines",
        "url",
    }


def test_timeline_has_these_members() -> None:
    assert members(Timeline) == {
        "abatch",
        "add_renditions",
        "aframe",
        "aframe_at",
        "aframes",
        "ajpeg",
        "append",
        "available",
        "batch",
        "clear",
        "complete",
        "delete",
        "exists",
        "export_frames",
        "extract",
        "footprint",
        "frame",
        "frame_at",
        "frames",
        "import_frames",
        "index",
        "info",
        "jobs",
        "jpeg",
        "jpegs",
        "snapshot_cache",
        "overlays",
        "plan_append",
        "plan_extract",
        "rebuild",
        "repack",
        "scenes",
        "sequence_at",
        "to_vlm",
        "translate",
        "translate_back",
        "sequences",
        "sprites",
        "stages",
        "verify",
        "write",
    }
    assert {"__len__", "__bool__"} <= set(vars(Timeline))


def test_sprites_have_these_members() -> None:
    assert members(framecache.Sprites) == {"found_or_made", "make_all", "map", "sheet"}


def test_overlays_have_these_members() -> None:
    assert members(Overlays) == {
        "clear",
        "compare",
        "frames",
        "listing",
        "load",
        "load_many",
        "load_named",
        "load_one",
        "misfits",
        "remove",
        "remove_one",
        "save",
        "save_many",
        "sizes",
        "stale",
    }


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            FrameCache,
            "(url=None, *, local_cache=None, local_cache_bytes=None, storage_options=None)",
        ),
        (FrameCache.timeline, "(self, timeline_id)"),
        (FrameCache.timelines, "(self)"),
        (FrameCache.frames_table, "(self, timelines=None)"),
        (
            FrameCache.plan_gc,
            (
                "(self, *, grace_seconds=86400.0, max_bytes=None, max_age_seconds=None, "
                "timelines=None, progress=None)"
            ),
        ),
        (
            Timeline.extract,
            (
                "(self, chunks, *, fps=None, every=None, keyframes=False, quality=85, "
                "aspect='stored', max_side=None, chroma='420', renditions=None, layout=None, "
                "workers=None, progress=None)"
            ),
        ),
        (
            Timeline.plan_extract,
            (
                "(self, chunks, *, fps=None, every=None, keyframes=False, quality=85, "
                "aspect='stored', max_side=None, chroma='420', renditions=None, layout=None, "
                "workers=None)"
            ),
        ),
        (Timeline.plan_append, "(self, chunks, *, workers=None)"),
        (Timeline.footprint, "(self, layout=None)"),
        (Timeline.append, "(self, chunks, *, workers=None, progress=None)"),
        (
            Timeline.write,
            "(self, frames, *, on_conflict='raise', quality=85, layout=None, workers=None)",
        ),
        (
            Timeline.rebuild,
            (
                "(self, *, fps=None, every=None, keyframes=False, quality=None, "
                "aspect=None, max_side=None, chroma=None, renditions=None, layout=None, "
                "workers=None, progress=None)"
            ),
        ),
        (Timeline.add_renditions, "(self, renditions, *, workers=None, progress=None)"),
        (Timeline.repack, "(self, layout, *, workers=None, progress=None)"),
        (Timeline.frame, "(self, sequence, *, scale=1.0, max_side=None, color='rgb')"),
        (
            Timeline.frame_at,
            "(self, seconds, *, tolerance_seconds=None, scale=1.0, max_side=None, color='rgb')",
        ),
        (
            Timeline.frames,
            (
                "(self, start=None, stop=None, step=1, *, start_seconds=None, stop_seconds=None, "
                "tolerance_seconds=None, ranges=None, ranges_seconds=None, reverse=False, "
                "min_change=None, missing='skip', follow=False, timeout_seconds=None, scale=1.0, "
                "max_side=None, color='rgb')"
            ),
        ),
        (
            Timeline.sequences,
            (
                "(self, start=None, stop=None, step=1, *, start_seconds=None, stop_seconds=None, "
                "tolerance_seconds=None, ranges=None, ranges_seconds=None, reverse=False, "
                "min_change=None, missing='skip')"
            ),
        ),
        (
            Timeline.scenes,
            (
                "(self, start=None, stop=None, *, start_seconds=None, stop_seconds=None, "
                "tolerance_seconds=None, min_change=20, min_seconds=0.5)"
            ),
        ),
        (Timeline.available, "(self, sequences)"),
        (Timeline.aframe, "(self, sequence, *, scale=1.0, max_side=None, color='rgb')"),
        (Timeline.ajpeg, "(self, sequence, *, max_side=None)"),
        (
            Timeline.to_vlm,
            "(self, start_seconds=None, stop_seconds=None, *, max_frames=32, scale=1.0, max_side=None, timing='indices')",  # noqa: E501
        ),
        (Timeline.translate, "(self, n, *, of, fps=None, chunk_id=None)"),
        (Timeline.translate_back, "(self, sequence, *, of, fps=None)"),
        (Timeline.sequence_at, "(self, seconds, *, tolerance_seconds=None)"),
        (
            Timeline.batch,
            (
                "(self, sequences, *, missing='raise', scale=1.0, max_side=None, "
                "color='rgb', out=None)"
            ),
        ),
        (
            Timeline.export_frames,
            (
                "(self, folder, *, format, start=None, stop=None, step=1, start_seconds=None, "
                "stop_seconds=None, min_change=None, missing='skip', overlays=(), fps=None, "
                "shard_bytes=None, progress=None)"
            ),
        ),
        (
            Timeline.import_frames,
            (
                "(self, folder, *, format=None, fps=None, on_conflict='raise', layout=None, "
                "workers=None, progress=None)"
            ),
        ),
        (Timeline.jpeg, "(self, sequence, *, max_side=None)"),
        (Timeline.jpegs, "(self, sequences, *, max_side=None, missing='raise')"),
        (Timeline.overlays, "(self, *, job_id, stage)"),
        (Timeline.jobs, "(self)"),
        (Timeline.stages, "(self)"),
        (Timeline.sprites, "(self)"),
        (framecache.Sprites.sheet, "(self, i)"),
        (framecache.Sprites.make_all, "(self)"),
        (Timeline.info, "(self)"),
        (
            Timeline.verify,
            ("(self, *, deep=False, repair=False, workers=None, progress=None, on_finding=None)"),
        ),
        (Timeline.clear, "(self)"),
        (Timeline.delete, "(self)"),
        (Overlays.save, "(self, sequence, overlays)"),
        (Overlays.save_many, "(self, frames)"),
        (Overlays.load, "(self, sequence)"),
        (Overlays.load_one, "(self, sequence, name, *, most_bytes=None)"),
        (Overlays.load_many, "(self, sequences)"),
        (Overlays.listing, "(self, *, sizes=False)"),
        (Overlays.stale, "(self)"),
        (Overlays.compare, "(self, other)"),
        (Overlays.remove, "(self, sequence)"),
        (Overlays.remove_one, "(self, sequence, name)"),
        (Overlays.frames, "(self)"),
        (Overlays.clear, "(self)"),
        (Chunk, "(url, start_seconds=None, trim_start=None, trim_stop=None)"),
    ],
    ids=lambda value: None if isinstance(value, str) else value.__qualname__,
)
def test_function_has_this_signature(function: object, expected: str) -> None:
    assert parameters(function) == expected


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (Frame, ["sequence", "chunk_id", "timestamp", "image", "perceptual_hash", "color"]),
        (Chunk, ["url", "start_seconds", "trim_start", "trim_stop"]),
        (
            Progress,
            ["frames_done", "frames_total", "chunks_elsewhere", "segments_done", "segments_total"],
        ),
        (
            ExtractReport,
            [
                "timeline_id",
                "chunks_extracted",
                "chunks_cached",
                "frames_extracted",
                "frames_undecodable",
                "frame_count",
                "bytes_stored",
                "seconds",
                "timing",
                "segments_extracted",
                "segments_cached",
            ],
        ),
        (
            framecache.ExportReport,
            [
                "timeline_id",
                "format",
                "folder",
                "frames_exported",
                "overlays_exported",
                "overlays_stale",
                "bytes_exported",
                "seconds",
            ],
        ),
        (
            framecache.ImportReport,
            [
                "timeline_id",
                "format",
                "folder",
                "frames_imported",
                "frames_stored",
                "frames_replaced",
                "frames_kept",
                "overlays_imported",
                "seconds",
            ],
        ),
        (
            framecache.ChunkTiming,
            [
                "chunk_id",
                "url",
                "times_replaced",
                "clock_restarts",
                "packets_not_displayed",
                "placement",
                "clock_gap_seconds",
                "sound_seconds",
                "is_cut_short",
            ],
        ),
        (framecache.Requests, ["puts", "lists", "gets", "deletes"]),
        (framecache.Filmstrip, ["frames"]),
        (framecache.FrameComparison, ["left", "right"]),
        (framecache.Scene, ["start", "stop", "start_seconds", "stop_seconds", "change"]),
        (
            framecache.Footprint,
            [
                "layout",
                "frame_count",
                "blobs",
                "stored_bytes",
                "read_bytes",
                "fill",
                "read_all",
                "read_one",
            ],
        ),
        (
            framecache.PlannedChunk,
            [
                "chunk_id",
                "url",
                "is_cached",
                "frame_count",
                "frames_to_extract",
                "segment_count",
                "segments_to_extract",
                "duration_seconds",
                "width",
                "height",
                "video_bytes",
                "jpeg_bytes",
                "rendition_bytes",
                "frames_sampled",
                "samples_undecodable",
            ],
        ),
        (
            framecache.ExtractPlan,
            [
                "timeline_id",
                "url",
                "settings",
                "chunks",
                "bytes_to_store",
                "requests",
                "footprints",
            ],
        ),
        (
            framecache.Prices,
            [
                "name",
                "as_of",
                "storage_per_gb_month",
                "puts_and_lists_per_1000",
                "gets_and_heads_per_1000",
                "deletes_per_1000",
                "transfer_to_internet_per_gb",
                "transfer_in_region_per_gb",
            ],
        ),
        (framecache.OverlayListing, ["sequence", "names", "stale", "other_size"]),
        (framecache.StageCounts, ["frame_count", "names", "stale_count", "size_bytes"]),
        (
            framecache.SpriteMap,
            ["columns", "rows", "tile_width", "tile_height", "sheets"],
        ),
        (framecache.SpriteSheet, ["chunk_id", "first_position", "count"]),
        (
            framecache.Finding,
            ["kind", "key", "sequence", "chunk_id", "detail", "repaired"],
        ),
        (
            framecache.VerifyReport,
            [
                "timeline_id",
                "counts",
                "frames_checked",
                "renditions_checked",
                "bytes_read",
                "chunks_checked",
                "chunks_not_cached",
                "repaired",
                "seconds",
                "findings",
            ],
        ),
        (
            framecache.TimelineInfo,
            [
                "timeline_id",
                "url",
                "exists",
                "complete",
                "epoch",
                "version",
                "settings",
                "chunks",
                "chunks_cached",
                "segment_count",
                "segments_cached",
                "frame_count",
                "frames_undecodable",
                "frames_described",
                "size_bytes",
                "duration_seconds",
                "width",
                "height",
                "pixel_aspect_ratio",
            ],
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_dataclass_has_these_fields_and_is_immutable(value: type, fields: list[str]) -> None:
    assert dataclasses.is_dataclass(value)
    assert [field.name for field in dataclasses.fields(value)] == fields
    assert vars(value)["__dataclass_params__"].frozen
    assert "__slots__" in vars(value)


def test_index_has_these_members() -> None:
    assert members(Index) >= {
        "chunk_id",
        "crc32c",
        "duration",
        "height",
        "key",
        "offset",
        "perceptual_hash",
        "pts",
        "reason",
        "sequence",
        "size",
        "status",
        "timestamp",
        "to_arrow",
        "to_pandas",
        "to_polars",
        "width",
    }


def test_every_error_derives_from_base_and_has_docstring() -> None:
    errors = [
        value
        for value in vars(framecache).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
    ]
    assert all(issubclass(error, FrameCacheError) for error in errors)
    assert all(error.__doc__ for error in errors)
    families = {
        "InvalidId": ValueError,
        "InvalidValue": ValueError,
        "MissingPackage": ImportError,
        "NotCached": LookupError,
        "UndecodableFrame": framecache.NotCached,
        "ChunkChanged": framecache.UnreadableChunk,
        "StoreFull": framecache.StoreUnavailable,
    }
    for name, parent in families.items():
        assert issubclass(getattr(framecache, name), parent)


def test_public_members_are_documented() -> None:
    undocumented = [
        f"{of.__name__}.{name}"
        for of in (FrameCache, Timeline, Overlays, Index)
        for name in members(of)
        if not inspect.getdoc(getattr(of, name))
    ]
    assert undocumented == []


@pytest.mark.parametrize("name", ["frame", "frame_at", "frames", "batch", "jpeg"])
def test_async_method_has_signature_of_its_sync_method(
    name: str,
) -> None:
    given = parameters(getattr(Timeline, f"a{name}"))
    assert given == parameters(getattr(Timeline, name))
