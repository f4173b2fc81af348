"""The JSON documents of the service: what its OpenAPI document describes."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from framecache.model import Aspect, Layout, Status

State = Literal["complete", "partial", "cleared", "unreadable"]
TaskKind = Literal["extract", "rebuild", "clear", "verify", "delete"]
TaskState = Literal["queued", "running", "done", "failed", "cancelled"]
Quality = Annotated[int, Field(ge=1, le=100, description="JPEG quality.")]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="A stable word for what went wrong.")


class Summary(BaseModel):
    """What a list says of a timeline."""

    timeline_id: str
    state: State
    frame_count: int = Field(description="Frames that the chunks give once all are cached.")
    cached_count: int = Field(description="Rows of the index, undecodable frames included.")
    undecodable_count: int
    duration_seconds: float
    size_bytes: int = Field(description="Of the JPEGs.")
    width: int = Field(description="Of the first frame, pixels; 0 when unknown.")
    height: int
    layout: Layout | None
    chunk_count: int
    chunks_cached: int
    poster: str | None = Field(description="A thumbnail's URL, relative to the service's.")
    problem: str | None = Field(description="Why it cannot be opened.")


class TimelinePage(BaseModel):
    """Timelines in the order of their ids."""

    timelines: list[Summary]
    next: str | None = Field(description="What `after` is for the next page; null: no more.")


class ChunkDetail(BaseModel):
    """One video of a timeline."""

    chunk_id: int
    name: str = Field(description="The last part of its path.")
    start_seconds: float
    duration_seconds: float
    first_sequence: int
    frame_count: int
    cached: bool
    pixel_aspect_ratio: float = Field(
        description="Width by height of a pixel of its cached frames; 1 where they are square."
    )
    undecodable_count: int
    placement: Literal["end", "clock", "given"] = Field(
        description="Why it starts there: the chunk before ends, their clock, or the caller."
    )
    clock_gap_seconds: float | None = Field(
        description="From the end of the chunk before, on a clock both share; below zero: overlap."
    )
    times_replaced: int = Field(description="Frames whose own times were missing or wrong.")
    clock_restarts: int = Field(description="Places at which the video's clock begins again.")
    packets_not_displayed: int


class StageDetail(BaseModel):
    """What one stage of a job drew."""

    frame_count: int = Field(description="Frames that have an overlay.")
    names: dict[str, int] = Field(description="How many overlays of each name.")
    stale_count: int = Field(description="Overlays drawn for other pictures than are cached now.")


Jobs = dict[str, dict[str, StageDetail]]


class SpriteSize(BaseModel):
    """The sheets of thumbnails of a timeline."""

    sheet_count: int
    columns: int
    rows: int
    tile_width: int
    tile_height: int


class Sheet(BaseModel):
    """One sheet of thumbnails; its tiles are in the order of rows."""

    first_position: int
    count: int
    chunk_id: int


class SpriteMap(SpriteSize):
    """Which frames each sheet shows."""

    sheets: list[Sheet]


class Detail(Summary):
    """All that is known of a timeline without reading a frame."""

    version: str = Field(description="Names this snapshot: `v` in the URLs of its pictures.")
    epoch: str | None
    sampling: str | None
    quality: int | None
    aspect: Aspect | None
    first_sequence: int | None
    last_sequence: int | None
    start_seconds: float | None
    stop_seconds: float | None
    chunks: list[ChunkDetail]
    jobs: Jobs
    sprites: SpriteSize | None


class FrameDetail(BaseModel):
    """What the index knows of a frame."""

    sequence: int
    position: int = Field(description="Its rank among the cached frames.")
    timestamp: float = Field(description="Seconds on the timeline.")
    duration_seconds: float
    chunk_id: int
    width: int
    height: int
    size_bytes: int
    perceptual_hash: str
    status: Status
    reason: str = Field(description="Why it has no picture; empty when it has one.")


class FramePage(BaseModel):
    """Frames in the order of their sequences."""

    frames: list[FrameDetail]
    next_start: int | None = Field(description="`start` (or `position`) of the next page.")


class EmbeddedFrame(BaseModel):
    """A frame with its picture."""

    seq: int
    timestamp: float
    jpeg_b64: str


class EmbeddedPage(BaseModel):
    """Frames that have a picture, with it."""

    frames: list[EmbeddedFrame]
    next_start: int | None


class Overview(BaseModel):
    """A timeline in few columns of equal length: each entry tells of a run of positions."""

    count: int = Field(description="Positions in all.")
    bucket_size: int = Field(description="Positions in each run but the last.")
    first_sequence: list[int]
    timestamp: list[float] = Field(description="Of each run's first frame.")
    chunk_id: list[int]
    undecodable: list[int]
    gap: list[bool] = Field(description="Whether sequences are missing in the run or before it.")
    change: list[float | None] = Field(
        description="Greatest distance of neighbours' perceptual hashes, 0 to 1."
    )


class OverlayColumns(BaseModel):
    """Which frames one stage of a job drew on."""

    sequence: list[int]
    names: list[list[str]]
    stale: list[bool]
    other_size: list[bool] | None = Field(
        default=None, description="Of another size than their frame; only with `sizes`."
    )


class OverlayDifference(BaseModel):
    """Frames whose overlays differ between two stages."""

    sequence: list[int]
    names: list[list[str]]


class Removed(BaseModel):
    """How many were removed."""

    removed: int


class Session(BaseModel):
    """What the one who asks may do here."""

    scopes: list[Literal["read", "write"]]
    read_only: bool
    upload: bool
    max_upload_bytes: int
    version: str


class Credentials(_Document):
    """What a session is begun with."""

    token: Annotated[str, Field(max_length=512)]


class ExtractionRequest(_Document):
    """What to extract, and how."""

    chunks: Annotated[list[Annotated[str, Field(max_length=2048)]], Field(max_length=1000)] = Field(
        min_length=1,
        description="URLs in the allowed stores, or `upload:{name}`, in the order of time.",
    )
    fps: float | str | None = Field(None, description="The frame on screen so often a second.")
    every: Annotated[int, Field(ge=1, le=2**31)] | None = Field(None, description="Each n-th.")
    keyframes: bool = False
    quality: Quality = 85
    aspect: Aspect = Field(
        "stored", description="`square`: frames are scaled in width, so that pixels are square."
    )
    layout: Layout | None = None
    append: bool = Field(
        default=False, description="Add the chunks at the end, with the timeline's own settings."
    )


class RebuildRequest(_Document):
    """Settings that replace those a timeline has."""

    fps: float | str | None = None
    every: Annotated[int, Field(ge=1, le=2**31)] | None = None
    keyframes: bool = False
    quality: Quality | None = None
    aspect: Aspect | None = None
    layout: Layout | None = None


class VerificationRequest(_Document):
    """How thoroughly to look."""

    deep: bool = False
    repair: bool = False


class Uploaded(BaseModel):
    """A chunk that was uploaded."""

    chunk: str = Field(description="What `chunks` of an extraction calls it.")
    size_bytes: int


class Task(BaseModel):
    """Work in the background."""

    task_id: str
    timeline_id: str
    kind: TaskKind
    state: TaskState
    frames_done: int = 0
    frames_total: int = 0
    result: dict[str, int | float | bool | str] | None = None
    problem: str | None = None
    created_at: datetime


class TaskList(BaseModel):
    """Tasks, the newest first."""

    tasks: list[Task]


class Health(BaseModel):
    """The service answers."""

    status: Literal["ok"] = "ok"
