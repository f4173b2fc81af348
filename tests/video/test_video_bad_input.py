"""Files that are not videos are refused in one line; no video makes the reader open others."""

import io
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import pytest
from PIL import Image

from framecache._media import video
from framecache.errors import ChunkChanged, StoreUnavailable, UnreadableChunk
from media import ffmpeg, made
from sample_clips import clip

HEADERS = {
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n%s\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile '%s'\n",
    "sdp": (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        b"m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:%s\n"
    ),
    "dash": (
        b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        b"<Period><AdaptationSet><Representation><BaseURL>%s</BaseURL></Representation>"
        b"</AdaptationSet></Period></MPD>"
    ),
}


def scan(data: bytes) -> video.VideoScan:
    return video.scan(io.BytesIO(data), name="chunk.mp4")


def audio(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", str(path))


def cover_art(path: Path) -> None:
    """Make sound with cover art, which FFmpeg reports as a video stream."""
    picture = made("cover.png", lambda one: ffmpeg("-i", str(clip("h264.mp4")), *_ONE, str(one)))
    sound = made("sound.m4a", audio)
    art = ("-map", "0", "-map", "1", "-disposition:v:0", "attached_pic")
    ffmpeg("-i", str(sound), "-i", str(picture), *art, "-c", "copy", str(path))


def film_with_cover_art(path: Path) -> None:
    """A small video next to a large picture."""
    picture = made(
        "large-cover.png",
        lambda one: ffmpeg("-i", str(clip("h264.mp4")), *_ONE, "-vf", "scale=640:480", str(one)),
    )
    art = ("-map", "1", "-map", "0", "-disposition:v:0", "attached_pic")
    ffmpeg("-i", str(clip("h264.mp4")), "-i", str(picture), *art, "-c", "copy", str(path))


_ONE = ("-frames:v", "1")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\0" * 5000, "is not a video"),
        (b"This is a letter, not a video.\n" * 200, "not"),
    ],
)
def test_invalid_file_is_refused_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableChunk, match=rf"^chunk\.mp4 [^\n]*{said}[^\n]*$"):
        scan(data)


def test_refusal_of_unknown_data_names_supported_containers() -> None:
    with pytest.raises(UnreadableChunk, match="in a supported container, such as MP4"):
        scan(b"\0" * 5000)


def test_mp4_without_its_index_is_reported_as_cut_short() -> None:
    data = clip("no-edit-list.mp4").read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    with pytest.raises(UnreadableChunk, match=r"cut short.*copy it again"):
        scan(data[: len(data) // 2])


@pytest.mark.parametrize(("name", "make"), [("sound.m4a", audio), ("cover-art.m4a", cover_art)])
def test_audio_without_video_is_refused(name: str, make: Callable[[Path], None]) -> None:
    with pytest.raises(UnreadableChunk, match="contains no video") as refused:
        scan(made(name, make).read_bytes())
    assert "ffmpeg" not in str(refused.value)


def test_cover_art_is_not_taken_for_the_video() -> None:
    found = scan(made("film-with-cover.mp4", film_with_cover_art).read_bytes())
    assert (found.width, found.height, len(found.pts)) == (160, 120, 50)


def test_video_without_any_decodable_picture_is_refused() -> None:
    data = bytearray(clip("h264.mp4").read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin:] = bytes(len(data) - begin)
    with pytest.raises(UnreadableChunk, match="no picture that can be decoded"):
        scan(bytes(data))


def test_oversized_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framecache._media.video.limits.MAX_PIXELS", 160 * 120 - 1)
    with pytest.raises(UnreadableChunk, match="160x120"):
        scan(clip("h264.mp4").read_bytes())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other.nut", r"is a NUT video.*ffmpeg -i FILE -map 0:v -c copy COPY\.mkv"),
        ("other.wtv", r"is a WTV recording.*ffmpeg"),
        ("other.m2v", r"MPEG video without a container.*ffmpeg -i FILE -c copy COPY\.mpg"),
        ("other.rm", r"is a RealMedia video.*ffmpeg"),
        ("other.swf", "is a Flash animation"),
        ("other.mjpeg", r"is Motion JPEG without.*ffmpeg -i FILE -map 0:v -c copy COPY\.mkv"),
        ("other.obu", r"not supported.*ffmpeg"),
    ],
)
def test_unsupported_containers_are_refused_with_a_conversion_command(name: str, said: str) -> None:
    codec = {"rm": ("-c:v", "rv20"), "swf": ("-c:v", "flv1"), "obu": ("-c:v", "libaom-av1")}
    options = ("-frames:v", "3", *codec.get(name.rpartition(".")[2], ()))
    path = made(name, lambda one: ffmpeg("-i", str(clip("h264.mp4")), *options, str(one)))
    with pytest.raises(UnreadableChunk, match=said):
        scan(path.read_bytes())


_S3_ERROR = b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1/x.ts\n", "is an HLS playlist"),
        (b"\xef\xbb\xbf#EXTM3U\n#EXTINF:5,\nx.ts\n", "is an HLS playlist"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<MPD type="static">', "is a DASH playlist"),
        (b"ffconcat version 1.0\nfile x.mp4\n", "is a list of files"),
        (b"file 'x.mp4'\nfile 'y.mp4'\n", "is a list of files.*ffmpeg -f concat -i LIST"),
        (b"# parts\nfile 'x.mp4'\n", "is a list of files"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "is a session description"),
        (b"\n<!DOCTYPE html><html>", "is an HTML page"),
        (b"<html><body>403 Forbidden</body></html>", "is an HTML page"),
        (_S3_ERROR, "is an error message of an object store"),
        (b'{"error": "no such file"}', "is a JSON document"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "Git LFS pointer.*git lfs pull"),
        (b"WEBVTT\n\n00:00.000 --> 00:05.000\nsprite.jpg#xywh=0,0,160,90\n", "sprite images"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"PK\3\4", "is an archive.*unpack"),
    ],
)
def test_file_of_another_type_is_refused_by_its_type(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableChunk, match=rf"^chunk\.mp4 [^\n]*{said}[^\n]*$"):
        scan(data + b" " * 300)


def test_quicktime_reference_movie_is_refused_by_name() -> None:
    data = b"url \0\0\0\x14http://127.0.0.1/x\0"
    for kind in (b"rdrf", b"rmda", b"rmra", b"moov"):
        data = (8 + len(data)).to_bytes(4, "big") + kind + data
    with pytest.raises(UnreadableChunk, match=r"is a QuickTime reference movie.*that it refers to"):
        scan(b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + data)


def test_raw_motion_jpeg_is_readable_after_the_suggested_command(tmp_path: Path) -> None:
    raw, copy = tmp_path / "raw.mjpeg", tmp_path / "copy.mkv"
    ffmpeg("-i", str(clip("h264.mp4")), "-frames:v", "3", "-vf", "scale=640:-2", str(raw))
    with pytest.raises(UnreadableChunk, match=r"'ffmpeg -i FILE -map 0:v -c copy COPY\.mkv'"):
        scan(raw.read_bytes())
    ffmpeg("-i", str(raw), "-map", "0:v", "-c", "copy", str(copy))
    assert len(scan(copy.read_bytes()).pts) == 3


def test_multi_picture_jpeg_is_refused_as_a_picture() -> None:
    file, picture = io.BytesIO(), Image.new("RGB", (64, 48))
    picture.save(file, "MPO", save_all=True, append_images=[picture])
    assert b"\xff\xd9\xff\xd8" in file.getvalue()
    with pytest.raises(UnreadableChunk, match="is a JPEG picture, not a video"):
        scan(file.getvalue())


@pytest.mark.parametrize(
    ("form", "said"),
    [("JPEG", "JPEG"), ("PNG", "PNG"), ("BMP", "BMP"), ("TIFF", "TIFF"), ("WEBP", "WebP")],
)
def test_still_picture_is_refused_by_its_format(form: str, said: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, form)
    with pytest.raises(UnreadableChunk, match=f"is a {said} picture, not a video"):
        scan(file.getvalue())


def hls(folder: Path) -> list[bytes]:
    """An init segment and three media segments."""
    form = ("-f", "hls", "-hls_time", "0.4", "-hls_segment_type", "fmp4", "-hls_list_size", "0")
    names = ("-hls_segment_filename", str(folder / "%d.m4s"), str(folder / "list.m3u8"))
    keys = ("-c:v", "libx264", "-g", "10", "-bf", "0")
    ffmpeg("-i", str(clip("h264.mp4")), "-frames:v", "30", *keys, *form, *names)
    return [(folder / name).read_bytes() for name in ("init.mp4", "0.m4s", "1.m4s", "2.m4s")]


def test_media_segments_are_read_only_after_their_init_segment(tmp_path: Path) -> None:
    init, first, second, third = hls(tmp_path)
    assert len(scan(init + first + second + third).pts) == 30
    assert len(scan(init + third).pts) == 10
    with pytest.raises(
        UnreadableChunk, match="is a media segment without its init segment: prepend it"
    ):
        scan(second)
    with pytest.raises(UnreadableChunk, match="is an init segment, which contains no frames"):
        scan(init)


@pytest.mark.parametrize("form", [(), ("-movflags", "empty_moov+frag_keyframe")])
@pytest.mark.parametrize("scheme", ["cenc-aes-ctr"])
def test_encrypted_mp4_is_reported_as_encrypted(scheme: str, form: tuple[str, ...]) -> None:
    key = ("-encryption_key", "0" * 32, "-encryption_kid", "1" * 32)
    path = made(
        f"encrypted{len(form)}.mp4",
        lambda one: ffmpeg(
            *("-i", str(clip("h264.mp4")), "-c", "copy", "-encryption_scheme", scheme),
            *(*key, *form, str(one)),
        ),
    )
    with pytest.raises(
        UnreadableChunk, match=r"is encrypted \(cenc\): decrypt it first.*-decryption_key"
    ):
        scan(path.read_bytes())


def element(element_id: str, body: bytes) -> bytes:
    """An element of Matroska of less than 127 bytes (RFC 8794)."""
    return bytes.fromhex(element_id) + bytes([0x80 | len(body)]) + body


def with_content_encryption(data: bytes) -> bytes:
    """A WebM whose only track says that it is encrypted (RFC 9559, 5.1.4.1.31)."""
    cipher = element("5035", element("47e1", b"\5") + element("47e2", b"key"))
    encodings = element("6d80", element("6240", element("5033", b"\1") + cipher))
    at = data.rindex(bytes.fromhex("1654ae6b")) + 4
    begin, end = at + 1, at + 1 + (data[at] & 0x7F)
    entry = data[begin:end]
    assert entry[:2] == b"\xae\x01"
    size = int.from_bytes(entry[2:9]) + len(encodings)
    grown = entry[:2] + size.to_bytes(7) + entry[9:] + encodings
    return data[:at] + bytes([0x80 | len(grown)]) + grown + data[end:]


def test_encrypted_matroska_is_reported_as_encrypted() -> None:
    live = ("-c:v", "libvpx", "-f", "webm", "-live", "1", "pipe:1")
    data = ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1", *live)
    assert len(scan(data).pts) == 25
    with pytest.raises(UnreadableChunk, match=r"is encrypted \(Matroska.*decrypt it first"):
        scan(with_content_encryption(data))


@pytest.mark.parametrize("kind", HEADERS)
def test_playlist_is_refused_and_its_addresses_are_not_opened(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(clip("h264.ts").read_bytes())
    with Listener() as listener:
        for target in (listener.url, str(secret), f"file:{secret}"):
            with pytest.raises(UnreadableChunk, match=r"^chunk\.mp4 "):
                scan(HEADERS[kind] % target.encode())
    assert listener.callers == 0


class Listener:
    """Listener that counts connections."""

    def __init__(self) -> None:
        self.callers = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/x.ts"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                caller, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.callers += 1
            caller.close()


class Failing(io.BytesIO):
    """File that raises an error after a share of it was read."""

    def __init__(self, data: bytes, *, share: float, error: BaseException) -> None:
        super().__init__(data)
        self._limit = int(len(data) * share)
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() + (size or 0) > self._limit:
            raise self._error
        return super().read(size)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    "error",
    [StoreUnavailable("no network"), ChunkChanged("other bytes"), KeyboardInterrupt(), OSError()],
)
@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.ts", "mjpeg.avi"])
def test_errors_of_the_file_are_raised_unchanged(
    name: str, error: BaseException, share: float
) -> None:
    data = clip(name).read_bytes() * (1 if name.endswith("mp4") else 4)
    with pytest.raises(type(error)) as raised:
        video.scan(Failing(data, share=share, error=error), name=name)
    assert raised.value is error


@pytest.mark.parametrize("threads", [1, 4])
def test_errors_of_the_file_are_raised_unchanged_while_decoding(threads: int) -> None:
    data = clip("h264-long.mp4").read_bytes()
    found = scan(data)
    error = StoreUnavailable("no network")
    file = Failing(data, share=0.7, error=error)
    items = video.decode(file, found, found.pts, name="chunk", threads=threads)
    with pytest.raises(StoreUnavailable) as raised:
        list(items)
    assert raised.value is error


def test_error_of_one_video_does_not_affect_the_next() -> None:
    data = clip("h264.mp4").read_bytes()
    with pytest.raises(OSError, match="gone"):
        video.scan(Failing(data, share=0.0, error=OSError("gone")), name="bad")
    assert len(scan(data).pts) == 50


class Bare:
    """File with only the methods that reading needs, which returns little at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def test_file_object_needs_only_read_seek_and_tell() -> None:
    with clip("h264.mp4").open("rb") as file:
        found = video.scan(Bare(file), name="bare")
    assert len(found.pts) == 50


@pytest.mark.parametrize("name", ["garbage.mp4", "spoilt.ts", "cut-short.mp4"])
def test_ffmpeg_writes_nothing_to_the_terminal(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = clip(name).read_bytes()
    found = scan(data)
    list(video.decode(io.BytesIO(data), found, found.pts, name=name, threads=2))
    assert capfd.readouterr() == ("", "")


def test_ffmpeg_version_is_reported() -> None:
    assert re.match(r"\d+\.\d+", video.ffmpeg_version())
