"""Names of the blobs of a timeline. Pure: no I/O.

Every function validates the ids it is given, so a key that comes from here cannot lead
outside its timeline.
"""

import re
from typing import Final, TypeGuard

from framecache.errors import InvalidId
from framecache.numeric import shown, whole

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=,~-]{0,127}")
ROOT: Final = "cache/timelines/"
COMPACTION: Final = "timeline"
"""In the place of a part's name: all parts."""
WRITTEN: Final = "written"
"""In the place of a part's name: frames of a program, before they have a part."""
MOVING: Final = "moving"
"""In the place of a part's name in a claim: frames, to their places in the timeline's layout."""
_MOST_SEQUENCES: Final = 10**15

_FRAME_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,17})\.jpg")
_OVERLAY_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,17})_(.+)\.png")
_DESCRIPTION_NAME: Final = re.compile(r"([0-9]{8})\.json")
_INDEX_NAME: Final = re.compile(rf"(w?[0-9]{{6,}}|{COMPACTION})-(0|[1-9][0-9]{{0,17}})\.parquet")
_ROOMS_OF_EPOCHS: Final = frozenset({"index", "claims", "packs", "sprites"})
_EPOCH: Final = re.compile(r"[0-9]{6,18}-[0-9a-f]{8}")
_PACK_NAME: Final = re.compile(rf"(w?[0-9]{{6,}}|{WRITTEN})-([0-9a-f]{{16}})\.tar")
_SPRITE_NAME: Final = re.compile(r"([0-9]{6,18})-(0|[1-9][0-9]{0,17})\.jpg")
_CLAIM_NAME: Final = re.compile(r"([a-z0-9]+)-(0|[1-9][0-9]{0,17})\.json")


def check_id(value: object, *, what: str) -> str:
    """Return the characters of ``value`` if they may be part of a key.

    Raises:
        InvalidId: it is not a string, does not match `ID_PATTERN`, or holds ``..``.
    """
    # What derives from str may say that it is another text.
    text = str.__str__(value) if isinstance(value, str) else value
    if is_id(text):
        return text
    raise InvalidId(
        f"{what} {shown(value)} cannot be used: an id has 1 to 128 "
        f"letters, digits or any of . _ : @ + = , ~ -, begins with a letter or digit, and holds no "
        f"'..'"
    )


def check_sequence(value: object) -> int:
    """Return ``value`` as the int it is, if it may number a frame.

    Raises:
        InvalidValue: it is no whole number from 0, or 10**15 or more.
    """
    return whole(value, what="a sequence", below=_MOST_SEQUENCES)


def is_id(value: object) -> TypeGuard[str]:
    """Whether a value may be part of a key."""
    return isinstance(value, str) and bool(ID_PATTERN.fullmatch(value)) and ".." not in value


def timeline_prefix(timeline_id: str) -> str:
    """Everything of a timeline lies under this prefix, which ends in ``/``."""
    return f"{ROOT}{check_id(timeline_id, what='timeline_id')}/"


def used(timeline_id: str) -> str:
    """An empty blob that reading a timeline stores anew: its age is that of the last use."""
    return f"{timeline_prefix(timeline_id)}used"


def timeline_id_of(key: str) -> str | None:
    """The timeline under which a key lies, or None for any other key."""
    name = key.removeprefix(ROOT).partition("/")[0]
    return name if key.startswith(ROOT) and is_id(name) else None


def frames_prefix(timeline_id: str) -> str:
    """Where layout ``objects`` keeps its frames."""
    return f"{timeline_prefix(timeline_id)}frames/"


def frame(timeline_id: str, sequence: int) -> str:
    """The JPEG of one frame in layout ``objects``: plain decimal, no padding.

    Raises:
        InvalidValue: a sequence beyond what keys hold.
    """
    return f"{frames_prefix(timeline_id)}{check_sequence(sequence)}.jpg"


def parse_frame(timeline_id: str, key: str) -> int | None:
    """The sequence the key of a timeline's frame names, or None for any other key."""
    prefix = frames_prefix(timeline_id)
    match = _FRAME_NAME.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    return int(match[1]) if match else None


def packs_prefix(timeline_id: str) -> str:
    """Where layout ``packs`` keeps its frames, those of all epochs."""
    return f"{timeline_prefix(timeline_id)}packs/"


def pack(timeline_id: str, *, epoch: str, part: str, attempt: str) -> str:
    """One attempt to store the frames of a part (or ``WRITTEN`` ones) in one tar."""
    return f"{packs_prefix(timeline_id)}{epoch}/{part}-{attempt}.tar"


def parse_pack(timeline_id: str, key: str) -> str | None:
    """The part (or ``WRITTEN``) whose frames the key of a pack holds, or None for any other key."""
    prefix = packs_prefix(timeline_id)
    epoch, _, name = key.removeprefix(prefix).partition("/")
    match = _PACK_NAME.fullmatch(name) if key.startswith(prefix) else None
    return match[1] if match and _EPOCH.fullmatch(epoch) else None


def sprites_prefix(timeline_id: str) -> str:
    """Where sheets of thumbnails lie, those of all epochs."""
    return f"{timeline_prefix(timeline_id)}sprites/"


def sprite(timeline_id: str, *, epoch: str, chunk_id: int, number: int) -> str:
    """The ``number``-th sheet of thumbnails of a chunk's frames."""
    return f"{sprites_prefix(timeline_id)}{epoch}/{chunk_part(chunk_id)}-{number}.jpg"


def parse_sprite(timeline_id: str, key: str) -> tuple[int, int] | None:
    """The chunk_id and number that a sheet's key holds, or None for any other key."""
    prefix = sprites_prefix(timeline_id)
    epoch, _, name = key.removeprefix(prefix).partition("/")
    match = _SPRITE_NAME.fullmatch(name) if key.startswith(prefix) else None
    return (int(match[1]), int(match[2])) if match and _EPOCH.fullmatch(epoch) else None


def descriptions_prefix(timeline_id: str) -> str:
    """Where the versions of a timeline's description lie."""
    return f"{timeline_prefix(timeline_id)}timeline/"


def description(timeline_id: str, version: int) -> str:
    """Version ``version`` of a timeline's description; padded, so names sort by version."""
    return f"{descriptions_prefix(timeline_id)}{version:08d}.json"


def parse_description(timeline_id: str, key: str) -> int | None:
    """The version the key of a timeline's description names, or None for any other key."""
    match = _DESCRIPTION_NAME.fullmatch(key.removeprefix(descriptions_prefix(timeline_id)))
    return int(match[1]) if match else None


def indexes_prefix(timeline_id: str) -> str:
    """Where the index parts of all epochs lie."""
    return f"{timeline_prefix(timeline_id)}index/"


def epoch_prefix(timeline_id: str, epoch: str) -> str:
    """Where the index parts of one epoch lie."""
    return f"{indexes_prefix(timeline_id)}{epoch}/"


def chunk_part(chunk_id: int) -> str:
    """The name of the index part that commits a chunk."""
    return f"{chunk_id:06d}"


def written_part(number: int) -> str:
    """The name of the index part that commits the ``number``-th batch of written frames."""
    return f"w{number:06d}"


def is_written_part(part: str) -> bool:
    """Whether an index part is one of written frames."""
    return part.startswith("w")


def writing(write_id: str) -> str:
    """What stands for a part in the claim of a program that writes frames it holds."""
    return f"w{write_id}"


def index_part(timeline_id: str, *, epoch: str, part: str, generation: int = 0) -> str:
    """An index part; its existence is what commits the frames it names."""
    return f"{epoch_prefix(timeline_id, epoch)}{part}-{generation}.parquet"


def compacted_index(timeline_id: str, *, epoch: str, number: int) -> str:
    """All committed parts of an epoch in one file."""
    return f"{epoch_prefix(timeline_id, epoch)}{COMPACTION}-{number}.parquet"


def parse_epoch(timeline_id: str, key: str) -> str | None:
    """The epoch that an index file, claim, pack or sheet lies in, or None for any other key."""
    folder, _, rest = key.removeprefix(timeline_prefix(timeline_id)).partition("/")
    epoch, _, name = rest.partition("/")
    is_in_epoch = folder in _ROOMS_OF_EPOCHS and _EPOCH.fullmatch(epoch) and name
    return epoch if is_in_epoch else None


def epoch_ordinal(epoch: str) -> int:
    """How many epochs of a timeline came before one."""
    return int(epoch.partition("-")[0])


def is_earlier_epoch(epoch: str, than: str) -> bool:
    """Whether one epoch of a timeline came before another."""
    return epoch_ordinal(epoch) < epoch_ordinal(than)


def parse_index(key: str) -> tuple[str, int] | None:
    """The part (``timeline``: all of them) and number an index file's key holds, or None."""
    match = _INDEX_NAME.fullmatch(key.rpartition("/")[2])
    return (match[1], int(match[2])) if match else None


def claims_prefix(timeline_id: str, epoch: str | None = None) -> str:
    """Where the claims of all epochs, or of one, lie."""
    prefix = f"{timeline_prefix(timeline_id)}claims/"
    return prefix if epoch is None else f"{prefix}{epoch}/"


def claim(timeline_id: str, *, epoch: str, part: str, number: int) -> str:
    """The ``number``-th sign of life of whoever is making an index part."""
    return f"{claims_prefix(timeline_id, epoch)}{part}-{number}.json"


def parse_claim(key: str) -> tuple[str, int] | None:
    """The part and number a claim's key holds, or None for any other key."""
    match = _CLAIM_NAME.fullmatch(key.rpartition("/")[2])
    return (match[1], int(match[2])) if match else None


def overlays_prefix(timeline_id: str, job_id: str | None = None, stage: str | None = None) -> str:
    """Where the overlays of a timeline, of one of its jobs, or of a stage of that job lie."""
    prefix = f"{timeline_prefix(timeline_id)}overlays/"
    if job_id is not None:
        prefix += f"{check_id(job_id, what='job_id')}/"
        if stage is not None:
            prefix += f"{check_id(stage, what='stage')}/"
    return prefix


def overlay(timeline_id: str, job_id: str, stage: str, sequence: int, name: str) -> str:
    """The PNG of one overlay of one frame."""
    folder = overlays_prefix(timeline_id, job_id, stage)
    return f"{folder}{check_sequence(sequence)}_{check_id(name, what='overlay name')}.png"


def parse_overlay(key: str) -> tuple[int, str] | None:
    """The sequence and name an overlay's key holds, or None for any other key."""
    match = _OVERLAY_NAME.fullmatch(key.rpartition("/")[2])
    return (int(match[1]), match[2]) if match and is_id(match[2]) else None


def tasks_prefix() -> str:
    """Where a service keeps what it has still to do."""
    return "service/tasks/"


def task(task_id: str) -> str:
    """One thing a service has still to do; gone when it is done."""
    return f"{tasks_prefix()}{check_id(task_id, what='task_id')}.json"


def uploads_prefix(timeline_id: str) -> str:
    """Where the videos lie that were uploaded for a timeline: chunks, and no part of the cache."""
    return f"uploads/{check_id(timeline_id, what='timeline_id')}/"


def upload(timeline_id: str, name: str) -> str:
    """One video that was uploaded."""
    return f"{uploads_prefix(timeline_id)}{check_id(name, what='name of an upload')}"


def upload_claim(timeline_id: str, name: str) -> str:
    """Stands for a video while it is being uploaded, so that no two become one."""
    return f"service/{upload(timeline_id, name)}"
