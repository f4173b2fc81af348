"""JSON documents of the service, described in its OpenAPI document."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from framecache._read.info import TimelineState
from framecache.model import MAX_FRAME_SIDE, MAX_RENDITIONS, Aspect, Chroma, Layout, Status

State = Literal[TimelineState, "unreadable"]
TaskKind = Literal["extract", "rebuild", "clear", "verify", "delete"]
TaskState = Literal["queued", "running", "done", "failed", "cancelled"]
Quality = Annotated[int, Field(ge=1, le=100, description="JPEG quality.")]
MaxSide = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=MAX_FRAME_SIDE,
        description="Maximum width and height of stored frames in pixels.",
    ),
]

Renditions = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=MAX_FRAME_SIDE)], ...],
    Field(max_length=MAX_RENDITIONS),
]


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable identifier of the kind of error.")


class Summary(BaseModel):
    """Summary of a timeline in a list."""

    timeline_id: str
    state: State
    frame_count: int = Field(description="Number of frames once all chunks are cached.")
    cached_count: int = Field(
        description="Number of rows in the index, including undecodable frames."
    )
    undecodable_count: int
    duration_seconds: float
    size_bytes: int = Field(description="Total size of the JPEGs.")
    width: int = Field(description="Width of the first frame in pixels; 0 if unknown.")
    height: int
    layout: Layout | None
    chunk_count: int
    chunks_cached: int
    segment_count: int = Field(
        description="Number of segments of all chunks; each is extracted and committed on its own."
    )
    segments_cached: int
    poster: str | None = Field(description="URL of a thumbnail, relative to the service.")
    problem: str | None = Field(description="Reason why the timeline cannot be opened.")


class TimelinePage(BaseModel):
    """Timelines in the order of their ids."""

    timelines: list[Summary]
    next: str | None = Field(
        description="Value of `after` for the next page; null on the last page."
    )


class IdPage(BaseModel):
    """Ids of timelines, in order."""

    ids: list[str]
    next: str | None = Field(
        description="Value of `after` for the next page; null on the last page."
    )


class ChunkDetail(BaseModel):
    """One video of a timeline."""

    chunk_id: int
    name: str = Field(description="Last segment of the URL's path.")
    start_seconds: float
    duration_seconds: float
    first_sequence: int
    frame_count: int
    cached: bool = Field(description="True if all segments are cached.")
    segment_count: int
    segments_cached: int
    pixel_aspect_ratio: float = Field(
        description="Pixel width divided by pixel height of the cached frames; 1 for square pixels."
    )
    undecodable_count: int
    placement: Literal["end", "clock", "given"] = Field(
        description="Origin of the start: end of the previous chunk, shared clock, or the caller."
    )
    clock_gap_seconds: float | None = Field(
        description="Gap to the end of the previous chunk on a shared clock; negative if "
        "they overlap."
    )
    times_replaced: int = Field(
        description="Number of frames with a missing or wrong time in the video."
    )
    clock_restarts: int = Field(description="Number of places where the video's clock restarts.")
    packets_not_displayed: int


class StageDetail(BaseModel):
    """Overlay counts of one stage of a job."""

    frame_count: int = Field(description="Number of frames that have an overlay.")
    names: dict[str, int] = Field(description="Number of overlays by name.")
    stale_count: int = Field(description="Number of overlays that are older than their frame.")


Jobs = dict[str, dict[str, StageDetail]]


class SpriteSize(BaseModel):
    """Number and size of a timeline's sheets of thumbnails."""

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


class SpriteDetail(SpriteSize):
    """Sheets of thumbnails, with the frames on each."""

    sheets: list[Sheet]


class Detail(Summary):
    """Details of a timeline, without those of its frames."""

    version: str = Field(description="Version of this snapshot: `v` in the URLs of its pictures.")
    epoch: str | None
    sampling: str | None
    quality: int | None
    aspect: Aspect | None
    max_side: int | None = Field(description="Null: frames have the size of their video.")
    chroma: Chroma | None
    renditions: list[int] = Field(description="Sizes of smaller copies of each frame.")
    first_sequence: int | None
    last_sequence: int | None
    start_seconds: float | None
    stop_seconds: float | None
    chunks: list[ChunkDetail]
    jobs: Jobs
    sprites: SpriteSize | None


class FrameDetail(BaseModel):
    """Metadata of a frame."""

    sequence: int
    position: int = Field(description="Position among the cached frames, from 0.")
    timestamp: float = Field(description="Time on the timeline in seconds.")
    duration_seconds: float
    chunk_id: int
    width: int
    height: int
    size_bytes: int | None = Field(
        description="Size of the JPEG; null if it is not stored, but decoded when it is read."
    )
    perceptual_hash: str = Field(description="Empty if unknown.")
    status: Status = Field(description="`unknown` if the frame is decoded when it is read.")
    reason: str = Field(description="Reason why there is no picture; empty if there is one.")


class FramePage(BaseModel):
    """Frames in the order of their sequences."""

    frames: list[FrameDetail]
    next_start: int | None = Field(
        description="Value of `start` (or `position`) for the next page."
    )


class EmbeddedFrame(BaseModel):
    """A frame with its picture."""

    seq: int
    timestamp: float
    jpeg_b64: str


class EmbeddedPage(BaseModel):
    """Frames with their pictures, except frames without a picture."""

    frames: list[EmbeddedFrame]
    next_start: int | None


class VlmClip(BaseModel):
    """Frames of a range for a vision-language model, with the numbers that give their times."""

    content: list[dict[str, Any]] = Field(
        description="Parts of a message of OpenAI's chat API: images, each after its time, or one "
        "video as vLLM takes it."
    )
    media_io_kwargs: dict[str, dict[str, Any]] = Field(
        description="Field of the same name in a request to vLLM with a video."
    )
    sequences: list[int]
    timestamps: list[float] = Field(description="Time of each frame on the timeline in seconds.")
    fps: float
    frames_indices: list[int] = Field(
        description="Index of each frame at this rate; `origin_seconds + index / fps` is its time."
    )
    total_num_frames: int
    duration_seconds: float
    origin_seconds: float


class Overview(BaseModel):
    """Summary of a timeline in columns; each entry covers a bucket of consecutive positions."""

    count: int = Field(description="Number of positions.")
    bucket_size: int = Field(description="Number of positions in each bucket but the last.")
    first_sequence: list[int]
    timestamp: list[float] = Field(description="Time of the first frame of each bucket.")
    chunk_id: list[int]
    undecodable: list[int]
    gap: list[bool] = Field(description="True if sequences are missing in the bucket or before it.")
    change: list[float | None] = Field(
        description="Maximum distance of perceptual hashes of consecutive frames, 0 to 1."
    )


class OverlayColumns(BaseModel):
    """Frames with an overlay of one stage of a job, in columns."""

    sequence: list[int]
    names: list[list[str]]
    stale: list[bool]
    other_size: list[bool] | None = Field(
        default=None,
        description="True if an overlay differs in size from its frame; only with `sizes`.",
    )


class OverlayDifference(BaseModel):
    """Frames whose overlays differ between two stages."""

    sequence: list[int]
    names: list[list[str]]


class Removed(BaseModel):
    """Number of overlays that were removed."""

    removed: int


class Session(BaseModel):
    """Permissions of the client, and limits of the service."""

    scopes: list[Literal["read", "write"]]
    read_only: bool
    upload: bool
    max_upload_bytes: int
    version: str


class Credentials(_StrictModel):
    """Credentials that begin a session."""

    token: Annotated[str, Field(max_length=512)]


ChunkUrl = Annotated[
    str, Field(max_length=2048, description="URL in an allowed store, or `upload:{name}`.")
]
_Time = Annotated[float | str, Field(union_mode="left_to_right")]


class ChunkRequest(_StrictModel):
    """Chunk with its place on the timeline, and the part of it to take."""

    url: ChunkUrl
    start_seconds: _Time | None = Field(
        None,
        description="Start on the timeline, or `pts`; null: after the chunk before.",
    )
    trim_start: _Time | None = Field(
        None, description="Take frames from this time on the video's own clock, in seconds."
    )
    trim_stop: _Time | None = Field(None, description="Take frames before this time.")


class ExtractionRequest(_StrictModel):
    """Chunks and settings of an extraction."""

    chunks: Annotated[list[ChunkUrl | ChunkRequest], Field(max_length=1000)] = Field(
        min_length=1, description="Chunks in time order."
    )
    fps: float | str | None = Field(
        None, description="Extract the frame on screen this many times per second."
    )
    every: Annotated[int, Field(ge=1, le=2**31)] | None = Field(
        None, description="Extract every n-th frame."
    )
    keyframes: bool = False
    quality: Quality = 85
    aspect: Aspect = Field(
        "stored", description="`square` scales frames in width to square pixels."
    )
    max_side: MaxSide | None = None
    chroma: Chroma = Field("420", description="`444` stores the color of each pixel.")
    renditions: Renditions | None = Field(
        default=None, description="Sizes of smaller copies of each frame, largest first."
    )
    layout: Layout | None = None
    append: bool = Field(
        default=False, description="Append the chunks, with the timeline's own settings."
    )

    @property
    def given_settings(self) -> list[str]:
        """Names of the settings that the request gives, apart from nulls and false."""
        names = self.model_fields_set - {"chunks", "append"}
        return sorted(name for name in names if getattr(self, name) not in {None, False})


class RebuildRequest(_StrictModel):
    """Settings of a rebuild; they replace those of the timeline."""

    fps: float | str | None = None
    every: Annotated[int, Field(ge=1, le=2**31)] | None = None
    keyframes: bool = False
    quality: Quality | None = None
    aspect: Aspect | None = None
    max_side: MaxSide | None = Field(default=None, description="65500 removes the limit.")
    chroma: Chroma | None = None
    renditions: Renditions | None = Field(default=None, description="An empty list removes them.")
    layout: Layout | None = None


class VerificationRequest(_StrictModel):
    """Settings of a verification."""

    deep: bool = False
    repair: bool = False


class Uploaded(BaseModel):
    """Uploaded video, to be used as a chunk."""

    chunk: str = Field(description="Name of the upload in `chunks` of an extraction request.")
    size_bytes: int


class Task(BaseModel):
    """Background task: its state, progress and result."""

    task_id: str
    timeline_id: str
    kind: TaskKind
    state: TaskState
    frames_done: int = 0
    frames_total: int = 0
    segments_done: int = Field(default=0, description="Number of segments that are cached.")
    segments_total: int = Field(
        default=0, description="Number of segments of the chunks; 0 for other work."
    )
    result: dict[str, int | float | bool | str] | None = None
    problem: str | None = None
    created_at: datetime


class TaskList(BaseModel):
    """Tasks, newest first."""

    tasks: list[Task]


class Health(BaseModel):
    """Sign that the service responds."""

    status: Literal["ok"] = "ok"
