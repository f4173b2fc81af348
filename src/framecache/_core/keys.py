"""Keys of a timeline's blobs. Pure: no I/O.

Every function validates the ids it is given, so the keys it builds cannot escape their timeline.
"""

import re
from typing import Final, TypeGuard

from framecache._core.numeric import format_value, require_int
from framecache.errors import InvalidId

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=,~-]{0,127}")
_ID: Final = re.compile(rf"(?!.*\.\.){ID_PATTERN.pattern}", re.DOTALL)
ROOT: Final = "cache/timelines/"
COMPACTION: Final = "timeline"
"""Stands for all parts where a part's name is expected; in a file name, for a compaction by an
earlier version."""
COMPACTED: Final = "_timeline"
"""Stands for all parts in the file name of a compaction."""
WRITTEN: Final = "written"
"""Stands for a part's name in packs of frames that a program writes before they have a part."""
REPACKING: Final = "moving"
"""Stands for a part's name in the lease on moving frames to their places in the layout."""
_SEQUENCE_LIMIT: Final = 10**15
CHUNK_NUMBER_DIGITS: Final = 12
"""Maximum number of digits of the number that a chunk's own key gives it."""

_FRAME_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,17})\.jpg")
_OVERLAY_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,17})_(.+)\.png")
_MANIFEST_NAME: Final = re.compile(r"([0-9]{8})\.json")
_PART: Final = r"w?[0-9]{6,}|[0-9]{6,}s[0-9]{6,}"
_INDEX_NAME: Final = re.compile(rf"({_PART}|{COMPACTION})-(0|[1-9][0-9]{{0,17}})\.parquet")
_COMPACTED_NAME: Final = re.compile(rf"({COMPACTED})-(0|[1-9][0-9]{{0,17}})\.compacted")
_EPOCH_FOLDERS: Final = frozenset({"index", "claims", "packs", "renditions", "sprites"})
_EPOCH: Final = re.compile(r"[0-9]{6,18}-[0-9a-f]{8}")
_PACK_NAME: Final = re.compile(rf"({_PART}|{WRITTEN})-([0-9a-f]{{16}})\.tar")
_RENDITION_NAME: Final = re.compile(
    rf"([1-9][0-9]{{0,4}})/(?:(0|[1-9][0-9]{{0,17}})\.jpg|(?:{_PART}|{WRITTEN})-[0-9a-f]{{16}}\.tar)"
)
_SPRITE_NAME: Final = re.compile(r"([0-9]{6,18})-(0|[1-9][0-9]{0,17})\.jpg")
_PENDING_NAME: Final = re.compile(rf"([0-9]{{{CHUNK_NUMBER_DIGITS}}})\.json")
_REPLANNED_NAME: Final = re.compile(r"replanned-([0-9]{6,18}-[0-9a-f]{8})\.json")
_LEASE_NAME: Final = re.compile(r"([a-z0-9]+)-(0|[1-9][0-9]{0,17})\.json")


def check_id(value: object, *, what: str) -> str:
    """Return ``value`` as a plain string if it may be part of a key.

    Raises:
        InvalidId: ``value`` is not a string, does not match `ID_PATTERN`, or contains ``..``.
    """
    # A subclass of str may override __str__ to return another text.
    text = str.__str__(value) if isinstance(value, str) else value
    if isinstance(text, str) and _ID.fullmatch(text):
        return text
    raise InvalidId(
        f"{what} {format_value(value)} is not a valid id: an id has 1 to 128 letters, digits or "
        "any of . _ : @ + = , ~ -, begins with a letter or digit, and does not contain '..'"
    )


def check_sequence(value: object) -> int:
    """Return ``value`` as an int if it is a valid sequence.

    Raises:
        InvalidValue: ``value`` is not an integer from 0 up to below 10**15.
    """
    if type(value) is int and 0 <= value < _SEQUENCE_LIMIT:
        return value
    return require_int(value, what="a sequence", below=_SEQUENCE_LIMIT)


def is_id(value: object) -> TypeGuard[str]:
    """Return True if ``value`` may be part of a key."""
    return isinstance(value, str) and bool(_ID.fullmatch(value))


def timeline_prefix(timeline_id: str) -> str:
    """Return the prefix of all blobs of a timeline; it ends in ``/``."""
    return f"{ROOT}{check_id(timeline_id, what='timeline_id')}/"


def access_log(timeline_id: str) -> str:
    """Return the key of the blob whose modification time records the last use of a timeline."""
    return f"{timeline_prefix(timeline_id)}used"


def timeline_id_of(key: str) -> str | None:
    """Return the timeline that a key belongs to, or None for any other key."""
    name = key.removeprefix(ROOT).partition("/")[0]
    return name if key.startswith(ROOT) and is_id(name) else None


def frames_prefix(timeline_id: str) -> str:
    """Return the prefix of the frames in layout ``objects``."""
    return f"{timeline_prefix(timeline_id)}frames/"


def frame(timeline_id: str, sequence: int) -> str:
    """Return the key of a frame's JPEG in layout ``objects``: plain decimal, no padding.

    Raises:
        InvalidValue: the sequence is out of range.
    """
    return f"{frames_prefix(timeline_id)}{check_sequence(sequence)}.jpg"


def parse_frame(timeline_id: str, key: str) -> int | None:
    """Return the sequence in the key of a timeline's frame, or None for any other key."""
    prefix = frames_prefix(timeline_id)
    match = _FRAME_NAME.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    return int(match[1]) if match else None


def packs_prefix(timeline_id: str) -> str:
    """Return the prefix of the frames of all epochs in layout ``packs``."""
    return f"{timeline_prefix(timeline_id)}packs/"


def pack(timeline_id: str, *, epoch: str, part: str, attempt: str) -> str:
    """Return the key of a pack: the tar in which one attempt stores a part (or ``WRITTEN``)."""
    return f"{packs_prefix(timeline_id)}{epoch}/{part}-{attempt}.tar"


def parse_pack(timeline_id: str, key: str) -> str | None:
    """Return the part (or ``WRITTEN``) in the key of a pack, or None for any other key."""
    prefix = packs_prefix(timeline_id)
    epoch, _, name = key.removeprefix(prefix).partition("/")
    match = _PACK_NAME.fullmatch(name) if key.startswith(prefix) else None
    return match[1] if match and _EPOCH.fullmatch(epoch) else None


def renditions_prefix(timeline_id: str) -> str:
    """Return the prefix of the renditions of all epochs."""
    return f"{timeline_prefix(timeline_id)}renditions/"


def rendition(timeline_id: str, *, epoch: str, max_side: int, sequence: int) -> str:
    """Return the key of the JPEG of a rendition that is a blob of its own."""
    return f"{renditions_prefix(timeline_id)}{epoch}/{max_side}/{check_sequence(sequence)}.jpg"


def rendition_pack(timeline_id: str, *, epoch: str, max_side: int, part: str, attempt: str) -> str:
    """Return the key of a pack of renditions: those of one size that one attempt stores."""
    return f"{renditions_prefix(timeline_id)}{epoch}/{max_side}/{part}-{attempt}.tar"


def parse_rendition(timeline_id: str, key: str) -> tuple[int, int | None] | None:
    """Return the size and sequence in the key of a rendition, or None for any other key.

    The sequence is None for a pack.
    """
    prefix = renditions_prefix(timeline_id)
    epoch, _, name = key.removeprefix(prefix).partition("/")
    match = _RENDITION_NAME.fullmatch(name) if key.startswith(prefix) else None
    if match is None or not _EPOCH.fullmatch(epoch):
        return None
    return int(match[1]), None if match[2] is None else int(match[2])


def sprites_prefix(timeline_id: str) -> str:
    """Return the prefix of the sprite sheets of all epochs."""
    return f"{timeline_prefix(timeline_id)}sprites/"


def sprite(timeline_id: str, *, epoch: str, chunk_id: int, number: int) -> str:
    """Return the key of the ``number``-th sprite sheet of a chunk's frames."""
    return f"{sprites_prefix(timeline_id)}{epoch}/{chunk_part(chunk_id)}-{number}.jpg"


def parse_sprite(timeline_id: str, key: str) -> tuple[int, int] | None:
    """Return the chunk_id and number in the key of a sprite sheet, or None for any other key."""
    prefix = sprites_prefix(timeline_id)
    epoch, _, name = key.removeprefix(prefix).partition("/")
    match = _SPRITE_NAME.fullmatch(name) if key.startswith(prefix) else None
    return (int(match[1]), int(match[2])) if match and _EPOCH.fullmatch(epoch) else None


def manifests_prefix(timeline_id: str) -> str:
    """Return the prefix of the versions of a timeline's manifest."""
    return f"{timeline_prefix(timeline_id)}timeline/"


def manifest(timeline_id: str, version: int) -> str:
    """Return the key of a version of a timeline's manifest; zero-padded to sort by version."""
    return f"{manifests_prefix(timeline_id)}{version:08d}.json"


def parse_manifest(timeline_id: str, key: str) -> int | None:
    """Return the version in the key of a timeline's manifest, or None for any other key."""
    match = _MANIFEST_NAME.fullmatch(key.removeprefix(manifests_prefix(timeline_id)))
    return int(match[1]) if match else None


def indexes_prefix(timeline_id: str) -> str:
    """Return the prefix of the index parts of all epochs."""
    return f"{timeline_prefix(timeline_id)}index/"


def epoch_prefix(timeline_id: str, epoch: str) -> str:
    """Return the prefix of the index parts of one epoch."""
    return f"{indexes_prefix(timeline_id)}{epoch}/"


def chunk_part(chunk_id: int) -> str:
    """Return the name of the index part that commits a chunk of one segment."""
    return f"{chunk_id:06d}"


def segment_part(chunk_id: int, number: int) -> str:
    """Return the name of the index part that commits one of several segments of a chunk."""
    return f"{chunk_part(chunk_id)}s{number:06d}"


def written_part(number: int) -> str:
    """Return the name of the index part that commits the ``number``-th batch of written frames."""
    return f"w{number:06d}"


def is_written_part(part: str) -> bool:
    """Return True if an index part holds frames that a program wrote."""
    return part.startswith("w")


def write_lease_part(write_id: str) -> str:
    """Return the part name in the lease of a program that writes frames from memory."""
    return f"w{write_id}"


def index_part(timeline_id: str, *, epoch: str, part: str, generation: int = 0) -> str:
    """Return the key of an index part; the existence of the blob commits the frames it names."""
    return f"{epoch_prefix(timeline_id, epoch)}{part}-{generation}.parquet"


def compacted_index(timeline_id: str, *, epoch: str, number: int) -> str:
    """Return the key of a compaction: all committed parts of an epoch in one file.

    A compaction repeats the rows of the parts. To keep other programs from counting frames twice,
    its name does not match ``*.parquet``, and its leading ``_`` excludes it when a tool reads the
    whole folder.
    """
    return f"{epoch_prefix(timeline_id, epoch)}{COMPACTED}-{number}.compacted"


def legacy_compacted_index(timeline_id: str, *, epoch: str, number: int) -> str:
    """Return the key of a compaction as earlier versions named it."""
    return f"{epoch_prefix(timeline_id, epoch)}{COMPACTION}-{number}.parquet"


def parse_epoch(timeline_id: str, key: str) -> str | None:
    """Return the epoch in the key of an index file, lease, pack, rendition or sheet; else None."""
    folder, _, rest = key.removeprefix(timeline_prefix(timeline_id)).partition("/")
    epoch, _, name = rest.partition("/")
    is_in_epoch = folder in _EPOCH_FOLDERS and _EPOCH.fullmatch(epoch) and name
    return epoch if is_in_epoch else None


def epoch_ordinal(epoch: str) -> int:
    """Return the number of epochs of a timeline before this one."""
    return int(epoch.partition("-")[0])


def is_earlier_epoch(epoch: str, than: str) -> bool:
    """Return True if ``epoch`` came before ``than``; both are of one timeline."""
    return epoch_ordinal(epoch) < epoch_ordinal(than)


def parse_index(key: str) -> tuple[str, int] | None:
    """Return the part (``COMPACTED``, ``COMPACTION``: all) and number in an index file's key.

    The result is None for any other key.
    """
    name = key.rpartition("/")[2]
    match = _INDEX_NAME.fullmatch(name) or _COMPACTED_NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def leases_prefix(timeline_id: str, epoch: str | None = None) -> str:
    """Return the prefix of the leases of all epochs, or of one."""
    prefix = f"{timeline_prefix(timeline_id)}claims/"
    return prefix if epoch is None else f"{prefix}{epoch}/"


def lease(timeline_id: str, *, epoch: str, part: str, number: int) -> str:
    """Return the key of the ``number``-th heartbeat of the lease on an index part."""
    return lease_heartbeat(leases_prefix(timeline_id, epoch), part=part, number=number)


def lease_heartbeat(prefix: str, *, part: str, number: int) -> str:
    """Return the key of the ``number``-th heartbeat of a lease, below a prefix of leases."""
    return f"{prefix}{part}-{number}.json"


def parse_lease(key: str) -> tuple[str, int] | None:
    """Return the part and number in the key of a lease, or None for any other key."""
    match = _LEASE_NAME.fullmatch(key.rpartition("/")[2])
    return (match[1], int(match[2])) if match else None


def overlays_prefix(timeline_id: str, job_id: str | None = None, stage: str | None = None) -> str:
    """Return the prefix of the overlays of a timeline, of one job, or of one stage of that job."""
    prefix = f"{timeline_prefix(timeline_id)}overlays/"
    if job_id is not None:
        prefix += f"{check_id(job_id, what='job_id')}/"
        if stage is not None:
            prefix += f"{check_id(stage, what='stage')}/"
    return prefix


def overlay(timeline_id: str, job_id: str, stage: str, sequence: int, name: str) -> str:
    """Return the key of the PNG of one overlay of one frame."""
    folder = overlays_prefix(timeline_id, job_id, stage)
    return f"{folder}{check_sequence(sequence)}_{check_id(name, what='overlay name')}.png"


def parse_overlay(key: str) -> tuple[int, str] | None:
    """Return the sequence and name in the key of an overlay, or None for any other key."""
    match = _OVERLAY_NAME.fullmatch(key.rpartition("/")[2])
    return (int(match[1]), match[2]) if match and is_id(match[2]) else None


def tasks_prefix() -> str:
    """Return the prefix of the service's pending tasks."""
    return "service/tasks/"


def task(task_id: str) -> str:
    """Return the key of a pending task of the service; the blob is deleted once it is done."""
    return f"{tasks_prefix()}{check_id(task_id, what='task_id')}.json"


def uploads_prefix(timeline_id: str) -> str:
    """Return the prefix of the videos uploaded for a timeline: chunks, not part of the cache."""
    return f"uploads/{check_id(timeline_id, what='timeline_id')}/"


def upload(timeline_id: str, name: str) -> str:
    """Return the key of an uploaded video."""
    return f"{uploads_prefix(timeline_id)}{check_id(name, what='name of an upload')}"


def upload_leases_prefix(timeline_id: str, name: str) -> str:
    """Return the prefix of the leases on one upload, which keep two uploads from mixing."""
    checked = check_id(timeline_id, what="timeline_id"), check_id(name, what="name of an upload")
    return f"service/receiving/{'/'.join(checked)}/"


def pending_chunks_prefix(timeline_id: str | None = None) -> str:
    """Return the prefix of the pending chunks of all timelines, or of one."""
    prefix = "lambda/pending/"
    return prefix if timeline_id is None else f"{prefix}{_checked_timeline(timeline_id)}/"


def pending_chunk(timeline_id: str, *, number: int) -> str:
    """Return the key of a chunk whose event has arrived; deleted once the chunk is cached."""
    return f"{pending_chunks_prefix(timeline_id)}{number:0{CHUNK_NUMBER_DIGITS}d}.json"


def parse_pending_chunk(key: str) -> int | None:
    """Return the number in the key of a pending chunk, or None for any other key."""
    match = _PENDING_NAME.fullmatch(key.rpartition("/")[2])
    return int(match[1]) if match else None


def replanned_epoch(timeline_id: str, epoch: str) -> str:
    """Return the key of a blob that exists until all chunks of an epoch are cached."""
    return f"{pending_chunks_prefix(timeline_id)}replanned-{epoch}.json"


def parse_replanned_epoch(key: str) -> str | None:
    """Return the epoch in the key of such a blob, or None for any other key."""
    match = _REPLANNED_NAME.fullmatch(key.rpartition("/")[2])
    return match[1] if match else None


def late_chunk(timeline_id: str, *, number: int) -> str:
    """Return the key of the report on a chunk that was not appended; it stays until deleted."""
    folder = f"lambda/late/{_checked_timeline(timeline_id)}/"
    return f"{folder}{number:0{CHUNK_NUMBER_DIGITS}d}.json"


def store_clock(*, attempt: str) -> str:
    """Return the key of a blob that is created to learn the store's time, and then deleted."""
    return f"lambda/clock/{attempt}"


def _checked_timeline(timeline_id: str) -> str:
    return check_id(timeline_id, what="timeline_id")
