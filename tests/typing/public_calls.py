"""Types that public calls take and return. mypy checks this file; nothing runs it.

A changed type is a change of the interface: see docs/compatibility.md.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, assert_type

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
from PIL.Image import Image as PilImage

from framecache import (
    S3_STANDARD,
    Chunk,
    ChunkTiming,
    ExportReport,
    ExtractPlan,
    ExtractReport,
    Filmstrip,
    Finding,
    Footprint,
    Frame,
    FrameCache,
    FrameComparison,
    FrameTranslation,
    ImportReport,
    Index,
    OverlayListing,
    Overlays,
    PlannedChunk,
    Prices,
    Progress,
    RenditionsReport,
    RepackReport,
    Requests,
    Scene,
    SpriteMap,
    Sprites,
    SpriteSheet,
    StageCounts,
    Timeline,
    TimelineInfo,
    VerifyReport,
    VlmClip,
    WriteReport,
    __version__,
)
from framecache.store import Store

Pixels = npt.NDArray[np.uint8]
Kind = Literal[
    "ok",
    "missing",
    "truncated",
    "corrupt",
    "stale",
    "orphan",
    "undecodable",
    "source_changed",
    "source_missing",
]


def caches(folder: Path) -> None:
    assert_type(__version__, str)
    for cache in (
        FrameCache(),
        FrameCache("s3://bucket/prefix", local_cache=folder, local_cache_bytes=10**9),
        FrameCache(folder, storage_options={"anon": True, "s3://other": {"region": "eu-west-1"}}),
    ):
        assert_type(cache, FrameCache)
        assert_type(cache.url, str)
        assert_type(cache.store, Store)
        assert_type(cache.timeline("t"), Timeline)
        assert_type(cache.timelines(), list[str])
        assert_type(cache.frames_table(["t"]), pa.Table)
        plan = cache.plan_gc(grace_seconds=3600, max_bytes=10**12, timelines=["t"])
        assert_type(plan.execute().removed[next(iter(plan.amounts))].blobs, int)


def filling(match: Timeline, frames: Iterator[Frame]) -> None:
    def show(progress: Progress) -> None:
        assert_type(progress.frames_done, int)
        assert_type(progress.frames_total, int)
        assert_type(progress.chunks_elsewhere, int)

    report = match.extract(
        ["c0.mp4", Path("c1.mp4"), b"c2.mp4", Chunk("s3://bucket/c3.mp4", start_seconds="pts")],
        fps=Fraction(30000, 1001),
        quality=90,
        progress=show,
    )
    assert_type(report, ExtractReport)
    assert_type(report.frame_count, int)
    assert_type(report.timing, tuple[ChunkTiming, ...])
    assert_type(report.timing[0].notes, tuple[str, ...])
    assert_type(match.extract("c0.mp4", every=5, aspect="square", layout="packs"), ExtractReport)
    assert_type(match.extract("c0.mp4", max_side=1280, chroma="444"), ExtractReport)
    assert_type(match.extract(Chunk("c0.mp4", "1:02.5"), keyframes=True, workers=2), ExtractReport)
    assert_type(match.append("c4.mp4"), ExtractReport)
    assert_type(match.rebuild(fps="5", max_side=640, layout="objects"), ExtractReport)
    plan = match.plan_extract("c0.mp4", fps=Decimal("2.5"))
    assert_type(plan, ExtractPlan)
    assert_type(plan.chunks, tuple[PlannedChunk, ...])
    assert_type(plan.requests, Requests)
    assert_type(plan.footprints, Mapping[Literal["objects", "packs", "video"], Footprint])
    assert_type(match.plan_append(["c1.mp4"]), ExtractPlan)
    written = match.write(frames, on_conflict="replace", quality=90)
    assert_type(written, WriteReport)
    assert_type(written + 0, int)
    assert_type((written.stored, written.unchanged), tuple[int, int])
    assert_type(match.repack("packs", progress=show), RepackReport)
    assert_type(match.add_renditions((640, 224), progress=show), RenditionsReport)
    assert_type(match.clear().blobs, int)
    assert_type(match.delete().size_bytes, int)


def reading(match: Timeline, buffer: Pixels) -> None:
    assert_type(match.exists, bool)
    assert_type(match.complete, bool)
    frame = match.frame(60, scale=0.5, color="bgr")
    assert_type(frame, Frame)
    assert_type(frame.sequence, int)
    assert_type(frame.chunk_id, int)
    assert_type(frame.timestamp, float)
    assert_type(frame.image, Pixels)
    assert_type(frame.perceptual_hash, str)
    assert_type(frame.color, Literal["rgb", "bgr", "gray"])
    assert_type(frame.pil, PilImage)
    assert_type(match.frame_at(12.5, tolerance_seconds="0.001"), Frame)
    assert_type(match.sequence_at("0:12.5"), int)
    found = match.translate(474, of="browser", fps=Fraction(30000, 1001), chunk_id=0)
    assert_type(found, FrameTranslation)
    assert_type((found.number, found.sequence, found.timestamp), tuple[int, int, float])
    assert_type(match.translate_back(12, of="ffmpeg", fps="5").pts, int)
    clip = match.to_vlm(10, "0:20", max_frames=8, scale=0.5, timing="rate")
    assert_type(clip, VlmClip)
    assert_type(clip.jpegs, tuple[bytes, ...])
    assert_type(clip.frames_indices, tuple[int, ...])
    edges = match.overlays(job_id="run-7", stage="edges")
    exported = match.export_frames("out", format="webdataset", stop=9, overlays=[edges])
    assert_type(exported, ExportReport)
    assert_type((exported.frames_exported, exported.bytes_exported), tuple[int, int])
    imported = match.import_frames(Path("out"), fps="30000/1001", on_conflict="keep")
    assert_type(imported, ImportReport)
    assert_type((imported.frames_imported, imported.seconds), tuple[int, float])
    assert_type(match.sequences(0, 50, 5), list[int])
    assert_type(match.frames(start_seconds=10, stop_seconds=Fraction(41, 2)), Iterator[Frame])
    assert_type(match.frames(ranges=[(0, 50), (200, None)], reverse=True), Iterator[Frame])
    assert_type(match.frames(ranges_seconds=[("0:10", 20.5)], missing="raise"), Iterator[Frame])
    assert_type(match.frames(follow=True, min_change=6), Iterator[Frame])
    assert_type(match.frames(follow="complete", timeout_seconds=30), Iterator[Frame])
    scenes = match.scenes(min_change=24, min_seconds=1)
    assert_type(scenes, list[Scene])
    assert_type(scenes[0].stop - scenes[0].start, int)
    assert_type(scenes[0].stop_seconds - scenes[0].start_seconds, float)
    assert_type(scenes[0].change, int | None)
    assert_type(match.sequences(ranges=scenes, min_change=6), list[int])
    assert_type(match.available([1, 5, 9]), list[int])
    assert_type(match.batch([1, 5, 9], missing="skip"), Pixels)
    assert_type(match.jpegs([1, 5, 9], missing="skip"), Iterator[bytes])
    assert_type(match.batch([1, 5, 9], out=buffer), Pixels)
    assert_type(match.jpeg(60), bytes)
    assert_type(match.jpegs(range(3)), Iterator[bytes])


def displays(match: Timeline) -> None:
    assert_type(Filmstrip(match.frames(0, 50, 5)), Filmstrip)
    compared = FrameComparison(match.frame(1), match.frame(2))
    assert_type(compared.mean_difference, float)
    assert_type(compared.changed_bits, int | None)


async def awaiting(match: Timeline, buffer: Pixels) -> None:
    assert_type(await match.aframe(60, scale=0.5), Frame)
    assert_type(await match.aframe_at("0:12.5", color="gray"), Frame)
    assert_type(await match.ajpeg(60), bytes)
    assert_type(await match.abatch([1, 5, 9], out=buffer), Pixels)
    assert_type([frame async for frame in match.aframes(min_change=6)], list[Frame])
    assert_type(match.aframes(follow=True), AsyncGenerator[Frame])


def metadata(match: Timeline) -> None:
    info = match.info()
    assert_type(info, TimelineInfo)
    assert_type(info.epoch, str | None)
    assert_type(info.frame_count, int)
    assert_type(info.duration_seconds, float)
    assert_type(info.pixel_aspect_ratio, Fraction)
    footprint = match.footprint("packs")
    assert_type(footprint, Footprint)
    assert_type(footprint.fill, Requests | None)
    assert_type(footprint.read_all.total, int)
    assert_type(S3_STANDARD, Prices)
    assert_type(S3_STANDARD.requests(footprint.read_one + footprint.read_all * 2), Decimal)
    assert_type(S3_STANDARD.storage(footprint.stored_bytes), Decimal)
    verified = match.verify(deep=True, repair=True)
    assert_type(verified, VerifyReport)
    assert_type(verified.ok, bool)
    assert_type(verified.damaged, int)
    assert_type(verified.counts, Mapping[Kind, int])
    assert_type(verified.findings, tuple[Finding, ...])
    assert_type(verified.findings[0].sequence, int | None)


def index_columns(index: Index) -> None:
    assert_type(len(index), int)
    assert_type(index.sequence, npt.NDArray[np.int64])
    assert_type(index.chunk_id, npt.NDArray[np.int32])
    assert_type(index.pts, npt.NDArray[np.int64])
    assert_type(index.timestamp, npt.NDArray[np.float64])
    assert_type(index.duration, npt.NDArray[np.float64])
    assert_type(index.width, npt.NDArray[np.int32])
    assert_type(index.height, npt.NDArray[np.int32])
    assert_type(index.key, npt.NDArray[np.object_])
    assert_type(index.offset, npt.NDArray[np.int64])
    assert_type(index.size, npt.NDArray[np.int64])
    assert_type(index.crc32c, npt.NDArray[np.uint32])
    assert_type(index.perceptual_hash, npt.NDArray[np.object_])
    assert_type(index.status, npt.NDArray[np.object_])
    assert_type(index.reason, npt.NDArray[np.object_])
    assert_type(index.quality, npt.NDArray[np.int32])
    assert_type(index.picture_since, npt.NDArray[np.object_])
    assert_type(index.is_ok, npt.NDArray[np.bool_])
    assert_type(index.is_decoded_on_demand, npt.NDArray[np.bool_])
    assert_type(index.rendition_sides, tuple[int, ...])
    assert_type(index.has_rendition(640), npt.NDArray[np.bool_])
    assert_type(index.of_renditions(640), Index)
    assert_type(index.for_size(640), Index)
    assert_type(index.position(60), int | None)
    assert_type(index.positions([60, 61]), npt.NDArray[np.int64])
    assert_type(index.to_arrow(), pa.Table)
    assert_type(index.to_pandas(), pd.DataFrame)
    assert_type(index.to_polars(), pl.DataFrame)


def overlays(match: Timeline, mask: npt.NDArray[np.bool_], picture: PilImage) -> None:
    edges = match.overlays(job_id="run-7", stage="edges")
    assert_type(edges, Overlays)
    edges.save(20, {"mask": mask, "lines": picture, "boxes": b"\x89PNG", "base64": "iVBORw0K"})
    edges.save_many({20: {"mask": mask}, 21: edges.load(20)})
    assert_type(edges.load(20), dict[str, bytes])
    assert_type(edges.load_named(20, ["mask"]), dict[str, bytes])
    assert_type(edges.load_one(20, "mask"), bytes | None)
    assert_type(edges.load_many(range(20, 22)), Iterator[tuple[int, dict[str, bytes]]])
    assert_type(edges.frames(), list[int])
    listing = edges.listing(sizes=True)
    assert_type(listing, OverlayListing)
    assert_type(listing.names, tuple[tuple[str, ...], ...])
    assert_type(edges.sizes(20), dict[str, int])
    assert_type(edges.misfits(), dict[int, tuple[str, ...]])
    assert_type(edges.stale(), list[int])
    assert_type(edges.compare(edges), dict[int, tuple[str, ...]])
    assert_type(edges.remove(20), int)
    edges.remove_one(21, "mask")
    assert_type(edges.clear(), int)
    assert_type(match.jobs(), dict[str, dict[str, int]])
    assert_type(match.stages(), dict[str, dict[str, StageCounts]])
    assert_type(match.stages()["run-7"]["edges"].names, Mapping[str, int])


def sprites(match: Timeline) -> None:
    thumbnails = match.sprites()
    assert_type(thumbnails, Sprites)
    assert_type(thumbnails.map, SpriteMap)
    assert_type(thumbnails.map.sheets, tuple[SpriteSheet, ...])
    assert_type(thumbnails.map.tile(3), tuple[int, int])
    assert_type(thumbnails.sheet(0), bytes)
    assert_type(thumbnails.make_all(), int)


def values(image: npt.NDArray[Any]) -> None:
    frame = Frame(1, chunk_id=0, timestamp=0.04, image=image)
    assert_type(frame.image, Pixels)
    assert_type(Chunk("c0.mp4").url, str)
    assert_type(ChunkTiming(0, "c0.mp4").clock_gap_seconds, float | None)
