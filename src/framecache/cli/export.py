"""``framecache export``: save frames as files, JPEGs with unchanged bytes, or as a video."""

import csv
import io
import os
import string
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from framecache._core.chunk_entry import ChunkEntry
from framecache._core.numeric import format_value
from framecache._core.optional_imports import require_opencv
from framecache._index import Index
from framecache._media import video
from framecache._overlays import Overlays
from framecache._read import count_timestamp_decimals
from framecache._read.hash_distance import HASH_BITS
from framecache._read.selection import Selection, parse_selection
from framecache.cli.drawing import draw_overlays
from framecache.cli.errors import Refused
from framecache.cli.export_folder import export_folder, folder_options
from framecache.cli.files import (
    WriteCounter,
    replace_atomically,
    report_partial_output,
    write_atomically,
)
from framecache.cli.options import (
    CacheSelection,
    cache_options,
    given_options,
    json_option,
    timeline_argument,
)
from framecache.cli.output import (
    format_count,
    format_elapsed,
    format_size,
    print_json,
    print_result,
)
from framecache.cli.progress import frames_progress
from framecache.cli.sentences import escape_unprintable
from framecache.cli.stages import select_stages
from framecache.cli.suffixes import is_picture_name, is_video_name
from framecache.errors import InvalidValue, NotCached
from framecache.model import Aspect, FolderFormat, Image, Progress
from framecache.timeline import Timeline

_TABLE: Final = "frames.csv"
_COLUMNS: Final = ("sequence", "chunk_id", "timestamp", "perceptual_hash")
_DEFAULT_NAME: Final = "{sequence:06d}.jpg"
_JPEG_SUFFIXES: Final = (".jpg", ".jpeg")
_PNG_SUFFIX: Final = ".png"
_VIDEO_SUFFIX: Final = ".mp4"
_FIELDS: Final = ("sequence", "chunk_id")
_MAX_SPEC_LENGTH: Final = 4
_MAX_NAME_BYTES: Final = 255
_QUALITY_WITH_OVERLAYS: Final = 95
_LAST_FRAME_SECONDS: Final = 0.04
"""Time for which a video shows its last frame if no end time is known."""
_EXAMPLES: Final = """\b
Examples:
  framecache export match-42 jpegs --start-seconds 10 --stop-seconds 12
  framecache export match-42 pngs --name '{sequence}.png'
  framecache export match-42 clip.mp4 --stop-seconds 20 --with-overlays run-7
  framecache export match-42 shards --format webdataset --overlays run-7
"""


@click.command(epilog=_EXAMPLES)
@timeline_argument
@click.argument("target", metavar="FOLDER|FILE.mp4", type=click.Path(path_type=Path))
@click.option(
    "--start", type=click.IntRange(min=0), metavar="SEQ", help="Sequence of the first frame."
)
@click.option(
    "--stop", type=click.IntRange(min=0), metavar="SEQ", help="Sequence after the last frame."
)
@click.option(
    "--step", type=click.IntRange(min=1), default=1, metavar="N", help="Save every N-th frame."
)
@click.option(
    "--start-seconds",
    metavar="TIME",
    help="Save frames that begin at or after TIME: 62.5, 1:02.5.",
)
@click.option("--stop-seconds", metavar="TIME", help="Save frames that begin before TIME.")
@click.option(
    "--min-change",
    type=click.IntRange(1, HASH_BITS),
    metavar="BITS",
    help="Save only frames whose perceptual hash differs in BITS from that of the last saved one.",
)
@click.option(
    "--name",
    "template",
    metavar="TEXT",
    help=f"Template of file names, ending in .jpg or .png.  [default: {_DEFAULT_NAME}]",
)
@click.option(
    "--contiguous", is_flag=True, help="Number the files 0, 1, 2… instead of by sequence."
)
@click.option(
    "--with-overlays",
    "stages",
    multiple=True,
    metavar="JOB[/STAGE]",
    help="Draw the overlays of a job on the frames. May be repeated; the last is topmost.",
)
@click.option("--force", "-f", is_flag=True, help="Write into a folder that is not empty.")
@folder_options
@json_option
@cache_options
@click.pass_context
def export(
    context: click.Context,
    *,
    choice: CacheSelection,
    timeline_id: str,
    target: Path,
    format_name: FolderFormat | None,
    carried: Sequence[str],
    fps: str | None,
    shard_bytes: int | None,
    start: int | None,
    stop: int | None,
    step: int,
    start_seconds: str | None,
    stop_seconds: str | None,
    min_change: int | None,
    template: str | None,
    contiguous: bool,
    stages: Sequence[str],
    force: bool,
    as_json: bool,
) -> None:
    """Save frames into a folder, with frames.csv, or as one video.

    JPEGs are the stored bytes, unless overlays are drawn on them. frames.csv has one line per
    frame: sequence, chunk_id, timestamp, perceptual_hash and file. A video shows each frame at its
    own time, starting at 0. Frames that could not be decoded are skipped.

    With --format, FOLDER is written as a whole, for other programs and for 'framecache import':
    images, with frames.csv; mp4, a video whose n-th frame is the n-th line of frames.csv;
    webdataset; parquet, for Hugging Face datasets; lance; coco-images; or cvat.
    """
    if start is not None and start_seconds is not None:
        raise click.UsageError("Give either --start or --start-seconds, not both.", context)
    if stop is not None and stop_seconds is not None:
        raise click.UsageError("Give either --stop or --stop-seconds, not both.", context)
    selection: dict[str, Any] = {
        "start": start,
        "stop": stop,
        "step": step,
        "start_seconds": start_seconds,
        "stop_seconds": stop_seconds,
        "min_change": min_change,
    }
    if format_name is not None:
        export_folder(
            context,
            choice,
            timeline_id,
            target,
            format_name=format_name,
            carried=carried,
            selection=selection,
            fps=fps,
            shard_bytes=shard_bytes,
            as_json=as_json,
        )
        return
    if carried or fps is not None or shard_bytes is not None:
        raise click.UsageError("--overlays, --fps and --shard-bytes need --format.", context)
    _export_pictures(
        context,
        choice,
        timeline_id,
        target,
        selection=parse_selection(**selection),
        step=step,
        template=template,
        contiguous=contiguous,
        stages=stages,
        force=force,
        as_json=as_json,
    )


def _export_pictures(
    context: click.Context,
    choice: CacheSelection,
    timeline_id: str,
    target: Path,
    *,
    selection: Selection,
    step: int,
    template: str | None,
    contiguous: bool,
    stages: Sequence[str],
    force: bool,
    as_json: bool,
) -> None:
    """Save frames as pictures in a folder, or as a video to watch."""
    is_video = target.suffix.lower() == _VIDEO_SUFFIX and not target.is_dir()
    if is_video and (template is not None or contiguous):
        raise click.UsageError("--name and --contiguous apply only to files in a folder.", context)
    if not is_video and not target.is_dir():
        _reject_suffix(target)
    _require_packages(is_video=is_video, is_drawing=bool(stages))
    timeline = choice.cache.timeline(timeline_id)
    index = _require_index(choice, timeline)
    in_range = replace(selection, min_change=None).positions(index)
    if not len(in_range):
        raise NotCached(
            f"timeline {timeline_id} in {choice.cache.url} has no picture in that range: its "
            f"frames are {index.sequence[0]} to {index.sequence[-1]}, from "
            f"{index.timestamp[0]:.{count_timestamp_decimals(index, 0)}f} s"
        )
    positions = selection.positions(index)
    sequences = index.sequence[positions].tolist()
    drawn = select_stages(timeline, stages)
    exporting = _Export(timeline, index, sequences, positions, drawn, int(in_range[-1]), step)
    began = time.monotonic()
    if is_video:
        if target.exists() and not force:
            raise Refused(
                f"the file {target} exists: give --force to replace it, or another file name"
            )
        size_bytes = exporting.write_video(target)
    else:
        names = _file_names(
            context, template or _DEFAULT_NAME, index, positions, contiguous=contiguous
        )
        prepare_folder(target, force=force)
        options = given_options(context, leave_out={"force"})
        again = choice.command_line("export", timeline_id, str(target), *options, "--force")
        with report_partial_output(target, retry_command=again) as written:
            size_bytes = exporting.write_files(target, names, written)
    seconds = time.monotonic() - began
    if as_json:
        document = {
            "timeline_id": timeline_id,
            "url": choice.cache.url,
            **({"file": str(target)} if is_video else {"folder": str(target)}),
            "table": None if is_video else str(target / _TABLE),
            "frames_exported": len(sequences),
            "bytes_exported": size_bytes,
            "seconds": seconds,
        }
        print_json(document)
        return
    table = "" if is_video else f" and {_TABLE}"
    print_result(
        f"{escape_unprintable(str(target))}: {format_count(len(sequences), 'frame')}{table}, "
        f"{format_size(size_bytes)} in {format_elapsed(seconds)}"
    )


def _reject_suffix(folder: Path) -> None:
    """Refuse a folder named like a picture, or like a video in a format that is not supported."""
    if is_picture_name(folder.name):
        raise Refused(
            f"the target {folder} has the file name of a picture, but frames are saved into a "
            "folder: give a folder, and --name for the names of the files"
        )
    if is_video_name(folder.name):
        raise Refused(
            f"the target {folder} has the file name of a video in a format that cannot be "
            f"written: give a name that ends in {_VIDEO_SUFFIX}, or a folder"
        )


def _require_packages(*, is_video: bool, is_drawing: bool) -> None:
    """Raise MissingPackage, before anything is read, if what encodes or draws is not installed."""
    if is_video:
        video.require_packages("saving a video")
    if is_drawing:
        require_opencv(needed_by="drawing overlays")


def _require_index(choice: CacheSelection, timeline: Timeline) -> Index:
    index = timeline.index
    if not len(index):
        raise NotCached(
            f"timeline {timeline.timeline_id} in {choice.cache.url} has no cached frames: extract "
            f"it first"
        )
    return index


def _file_names(
    context: click.Context,
    template: str,
    index: Index,
    positions: np.ndarray,
    *,
    contiguous: bool,
) -> list[str]:
    """Return the names of the files, which are distinct and contain no slash."""
    try:
        _check_fields(template)
        numbers = range(len(positions)) if contiguous else index.sequence[positions].tolist()
        chunk_ids = index.chunk_id[positions].tolist()
        names = [
            template.format(sequence=number, chunk_id=chunk_id)
            for number, chunk_id in zip(numbers, chunk_ids, strict=True)
        ]
    except (ValueError, IndexError) as error:
        raise click.UsageError(
            f"--name {format_value(template)} is not a valid template: give one such as "
            f"{_DEFAULT_NAME}, with the fields "
            f"{' and '.join('{' + field + '}' for field in _FIELDS)}.",
            context,
        ) from error
    if Path(names[0]).suffix.lower() not in (*_JPEG_SUFFIXES, _PNG_SUFFIX):
        raise click.UsageError(
            f"--name {format_value(template)} must end in .jpg or .png.", context
        )
    if any("/" in name or not name.isprintable() for name in names):
        raise click.UsageError(
            f"--name {format_value(template)} is not a valid file name.", context
        )
    longest = max(len(os.fsencode(name)) for name in names)
    if longest > _MAX_NAME_BYTES:
        raise click.UsageError(
            f"--name {format_value(template)} gives file names of {longest:,} bytes; at most "
            f"{_MAX_NAME_BYTES} are allowed.",
            context,
        )
    if len(set(names)) < len(names):
        raise click.UsageError(
            f"--name {format_value(template)} gives several frames the same name: include "
            "{sequence}.",
            context,
        )
    return names


def _check_fields(template: str) -> None:
    """Raise ValueError if a template has fields that are not numbers of a frame."""
    for _, field, spec, _ in string.Formatter().parse(template):
        if field not in (None, *_FIELDS) or len(spec or "") > _MAX_SPEC_LENGTH:
            raise ValueError(template)


def prepare_folder(folder: Path, *, force: bool) -> None:
    """Create a folder to write into; refuse one that is not empty, unless `force` is set."""
    if folder.exists() and not folder.is_dir():
        raise Refused(f"the target {folder} is a file, not a folder: give another one")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise Refused(
            f"the folder {folder} is not empty: give --force to write into it, or another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class _Export:
    """Frames to export, and the overlays to draw on them."""

    timeline: Timeline
    index: Index
    sequences: Sequence[int]
    positions: np.ndarray
    overlays: Sequence[Overlays]
    last_position: int
    """Row of the last frame of the range, which may look like the last frame to export."""
    step: int
    """Step of the range of sequences."""

    def write_files(self, folder: Path, names: Sequence[str], written: WriteCounter) -> int:
        """Write a file per frame, and the table; return the total size of the pictures in bytes."""
        size_bytes = 0
        with frames_progress("exporting") as progress:
            for done, data in enumerate(self._encoded(Path(names[0]).suffix.lower()), start=1):
                write_atomically(folder / names[done - 1], data)
                written.number = done
                size_bytes += len(data)
                if progress is not None:
                    progress(Progress(done, len(self.sequences)))
        write_atomically(folder / _TABLE, self._table(names))
        return size_bytes

    def write_video(self, file: Path) -> int:
        """Write a video; return its size in bytes.

        Raises:
            InvalidValue: the frames differ in size or in pixel aspect ratio.
        """
        times = self.index.timestamp[self.positions].tolist()

        def timed() -> Iterator[tuple[float, Image]]:
            with frames_progress("exporting") as progress:
                for done, image in enumerate(self._pictures(), start=1):
                    yield times[done - 1], image
                    if progress is not None:
                        progress(Progress(done, len(times)))

        info = self.timeline.info()
        chunks = {chunk.chunk_id: chunk for chunk in info.chunks}
        aspect = info.settings.jpeg.aspect if info.settings else "stored"
        ratio = self._pixel_aspect_ratio(chunks, aspect)
        end_seconds = self._end_seconds(chunks)
        with replace_atomically(file) as draft:
            video.write_mp4(draft, timed(), end_seconds=end_seconds, pixel_aspect_ratio=ratio)
        return file.stat().st_size

    def _end_seconds(self, chunks: Mapping[int, ChunkEntry]) -> float:
        """Return the end of the range: the start of the next frame, or the end of the chunk."""
        index, last = self.index, self.last_position
        start_seconds = float(index.timestamp[last])
        following = int(np.searchsorted(index.sequence, index.sequence[last] + self.step))
        chunk = chunks.get(int(index.chunk_id[last]))
        if following < len(index) and index.chunk_id[following] == index.chunk_id[last]:
            end_seconds = float(index.timestamp[following])
        elif chunk is not None:
            end_seconds = float(chunk.end)
        else:
            end_seconds = start_seconds + float(index.duration[last])
        return end_seconds if end_seconds > start_seconds else start_seconds + _LAST_FRAME_SECONDS

    def _pixel_aspect_ratio(self, chunks: Mapping[int, ChunkEntry], aspect: Aspect) -> Fraction:
        """Return the pixel aspect ratio (width / height) that all frames share.

        Raises:
            InvalidValue: the frames differ in it.
        """
        chunk_ids = set(self.index.chunk_id[self.positions].tolist()) & chunks.keys()
        ratios = sorted({chunks[chunk_id].pixel_aspect_ratio(aspect) for chunk_id in chunk_ids})
        if len(ratios) > 1:
            several = " and ".join(f"{one.numerator}:{one.denominator}" for one in ratios)
            raise InvalidValue(
                "one video cannot contain different pixel aspect ratios, and these frames "
                f"have {several}: choose a range with one, or make all pixels square with "
                f"'framecache rebuild {self.timeline.timeline_id} --aspect square'"
            )
        return ratios[0] if ratios else Fraction(1)

    def _encoded(self, suffix: str) -> Iterator[bytes]:
        if suffix in _JPEG_SUFFIXES and not self.overlays:
            return self.timeline.jpegs(self.sequences)
        return map(_encoder(suffix), self._pictures())

    def _pictures(self) -> Iterator[Image]:
        return draw_overlays(self.timeline, self.sequences, self.overlays)

    def _table(self, names: Sequence[str]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((*_COLUMNS, "file"))
        columns = [getattr(self.index, name)[self.positions].tolist() for name in _COLUMNS]
        writer.writerows(zip(*columns, names, strict=True))
        return text.getvalue().encode()


def _encoder(suffix: str) -> Callable[[Image], bytes]:
    if suffix == _PNG_SUFFIX:
        from framecache._overlays.conversion import as_png  # noqa: PLC0415 -- not needed for JPEGs

        return lambda image: as_png(image, name="frame").data
    from framecache._media import jpeg  # noqa: PLC0415 -- same

    return lambda image: jpeg.encode_rgb(image, quality=_QUALITY_WITH_OVERLAYS)
