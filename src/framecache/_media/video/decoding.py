"""Decoding of selected frames of a video."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from framecache._media.video.container import Container
from framecache._media.video.decode_pass import (
    FILE_ENDED,
    DecodePass,
    FastPassFailed,
    configure_fast_pass,
)
from framecache._media.video.decode_runs import REORDER_DEPTH, choose_runs, split_runs
from framecache._media.video.decoded import Decoded, Undecodable
from framecache._media.video.error_boundary import (
    TablesContradicted,
    VideoFile,
    expect_ranges,
    translate_iteration_errors,
)
from framecache._media.video.masked_file import MaskedFile
from framecache._media.video.sample_check import SampleCheck, SampleRanges
from framecache._media.video.sample_tables import SampleTable
from framecache._media.video.scanning import VideoScan
from framecache._media.video.scanning import scan as scan_packets

_TOLERANT_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # Otherwise the decoder reports no damage and leaves old memory contents in the gaps.
    "mjpeg": {"err_detect": "explode"},
}
"""Decoder options by codec, for the single-threaded pass over damaged videos."""

_RESCANS: Final = WeakKeyDictionary[SampleTable, VideoScan]()
"""Scan of each video that is irregular, and was described by its sample tables before.

Its segments are decoded one by one, and each would scan the whole video.
"""


@translate_iteration_errors
def decode(
    file: VideoFile,
    scan: VideoScan,
    wanted: Sequence[int] | npt.NDArray[np.int64],
    *,
    name: str,
    threads: int,
) -> Iterator[Decoded | Undecodable]:
    """Decode the wanted frames of a video, in order of time.

    A frame is undecodable if the decoder outputs no picture for it, if the decoder reports missing
    parts, or if a picture it depends on is damaged. Frames are good again from the next keyframe
    on. Damage that the decoder does not detect, which is common with HEVC, VP8 and VP9, cannot be
    distinguished from an undamaged picture.

    The result for a frame depends neither on the other wanted frames nor on ``threads``. Frames
    that are not needed are skipped: decoding jumps from one entry (a packet at which decoding can
    begin) to another, and stops once the last wanted frame of a run is output. FFmpeg's treatment
    of damage depends on the number of threads, so several threads are used only for undamaged
    video: the first pass stops at the first irregularity, and yields a frame once all frames
    decoded before it are known to be good. A second pass decodes the rest with one thread and
    tolerates damage.

    Of a video that was described by its sample tables, only the groups of pictures that the wanted
    frames need are read, and what the tables state is checked. At the first irregularity the video
    is scanned. If it has the frames that the tables list, the second pass continues.

    Args:
        file: the video that ``scan`` describes; errors that it raises pass unchanged.
        scan: the result of ``scan`` or ``describe`` for this video.
        wanted: PTS out of ``scan.pts``, in any order.
        name: name of the video in error messages.
        threads: number of decoder threads, at least 1; more than 8 have no effect.

    Yields:
        One item for each distinct wanted PTS, in ascending order.

    Raises:
        TablesContradicted: sample tables list frames that differ from those of the video.
    """
    remaining = deque(np.unique(np.asarray(wanted, np.int64)).tolist())
    if scan.samples is not None:
        scan = _RESCANS.get(scan.samples, scan)
    if remaining and scan.samples is not None:
        yield from _decode_samples(file, scan, scan.samples, remaining, name=name, threads=threads)
        if remaining:
            scan = rescan(file, scan, name=name)
    elif remaining and scan.packet_numbers is None:
        runs, threads = choose_runs(scan, list(remaining), threads)
        with Container(file, name=name) as container:
            configure_fast_pass(container, threads)
            with suppress(FastPassFailed):
                yield from DecodePass(
                    container, scan, remaining, name=name, is_tolerant=False
                ).items(runs)
    if remaining:
        yield from decode_tolerantly(file, scan, remaining, name=name)


def decode_tolerantly(
    file: VideoFile, scan: VideoScan, remaining: deque[int], *, name: str
) -> Iterator[Decoded | Undecodable]:
    """Decode the remaining frames with one thread, and tolerate damage: the second pass."""
    with Container(file, name=name) as container:
        # Times of frames without PTS depend on how many pictures the decoder holds back, so
        # the decoder must keep the depth that it had during the scan.
        depth = REORDER_DEPTH if scan.packet_numbers is None else 0
        options = _TOLERANT_OPTIONS.get(scan.codec, {})
        container.configure_decoder(threads=1, options=options, reorder_depth=depth)
        runs = split_runs(scan, list(remaining))
        yield from DecodePass(container, scan, remaining, name=name, is_tolerant=True).items(runs)
    yield from (Undecodable(pts, FILE_ENDED) for pts in remaining)


def _decode_samples(
    file: VideoFile,
    scan: VideoScan,
    samples: SampleTable,
    remaining: deque[int],
    *,
    name: str,
    threads: int,
) -> Iterator[Decoded | Undecodable]:
    """Decode frames of a video that was described by its sample tables.

    Only the samples that the runs need are read. Stop where the video differs from what the tables
    state, or is damaged, with the frames from there on in ``remaining``.
    """
    runs, threads = choose_runs(scan, list(remaining), threads)
    needed = SampleRanges(samples, [(run.start, run.wanted) for run in runs])
    masked = MaskedFile(file, samples.media)
    expect_ranges(file, needed.with_beginning())
    with Container(masked, name=name) as container:
        masked.hide(needed.unneeded())
        configure_fast_pass(container, threads)
        check = SampleCheck(samples, needed, container.codec, container.extradata)
        with suppress(FastPassFailed):
            yield from DecodePass(
                container, scan, remaining, name=name, is_tolerant=False, check=check
            ).items(runs)


def rescan(file: VideoFile, scan: VideoScan, *, name: str) -> VideoScan:
    """Scan a video that its sample tables may describe wrongly.

    Raises:
        TablesContradicted: its frames differ from those that the tables list.
    """
    expect_ranges(file, None)
    found = scan_packets(file, name=name)
    if not found.has_same_frames(scan):
        raise TablesContradicted(
            f"{name} has an index that does not match its pictures, so its frames are numbered "
            "wrongly: rebuild the timeline, which then reads the whole video to number them"
        )
    if scan.samples is not None:
        _RESCANS[scan.samples] = found
    return found
