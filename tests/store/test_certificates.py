"""A private certificate authority is trusted only where it is named, in real handshakes."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from framecache import FrameCache
from framecache.errors import StoreUnavailable, StoreWarning
from outside import frame, frames_of, outside

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_OPTIONS = {"key": "KEY", "secret": "secret"}


class Authority(NamedTuple):
    """Certificate authority."""

    certificate: Path
    key: Path


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def _authority(folder: Path, name: str) -> Authority:
    made = Authority(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl(
        *("req", "-x509", *_EC, "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", made.key, "-out", made.certificate),
        *("-addext", "basicConstraints=critical,CA:TRUE"),
    )
    return made


def _certificate(folder: Path, authority: Authority, names: str) -> tuple[str, str]:
    """Create a server's certificate and its key."""
    key, request, extensions = (folder / name for name in ("s.key", "s.csr", "s.ext"))
    signed = folder / "s.pem"
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\n")
    _openssl("req", *_EC, "-subj", "/CN=server", "-keyout", key, "-out", request)
    _openssl(
        *("x509", "-req", "-days", "2", "-in", request, "-out", signed, "-extfile", extensions),
        *("-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial"),
    )
    return str(signed), str(key)


@contextmanager
def _serving(certificate: tuple[str, str]) -> Iterator[str]:
    """Run the S3 server of the tests with TLS; yield its port."""
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", 0, application, threaded=True, ssl_context=_context(certificate)
    )
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield str(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _context(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """Return the authority that signs the servers' certificates, and another."""
    folder = tmp_path_factory.mktemp("authorities")
    return _authority(folder, "own"), _authority(folder, "other")


@pytest.fixture(scope="module")
def server(
    authorities: tuple[Authority, Authority], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    names = "DNS:localhost,IP:127.0.0.1"
    with _serving(_certificate(folder, authorities[0], names)) as port:
        yield f"https://localhost:{port}"


@pytest.fixture
def url(s3_url: str, server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a bucket that can also be reached by TLS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    return s3_url


def _round_trip(cache: FrameCache) -> None:
    cache.timeline("t").write([frame(0), frame(1)])
    assert [one.sequence for one in cache.timeline("t").frames()] == [0, 1]


@pytest.mark.parametrize("way", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile", "option"])
def test_named_authority_is_trusted(
    way: str,
    url: str,
    moto_endpoint: str,
    authorities: tuple[Authority, Authority],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = str(authorities[0].certificate)
    options: dict[str, str] | None = None
    if way == "profile":
        config = tmp_path / "config"
        config.write_text(f"[default]\nca_bundle = {named}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    elif way == "option":
        options = {**_OPTIONS, "ca": named}
    else:
        monkeypatch.setenv(way, named)
    _round_trip(FrameCache(url, storage_options=options))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_endpoint)
    assert {"0.jpg", "1.jpg"} <= set(frames_of(outside(url), "t"))


def test_named_authority_is_trusted_when_listing_past_an_odd_key(
    url: str, moto_endpoint: str, authorities: tuple[Authority, Authority]
) -> None:
    bucket = url.removeprefix("s3://")
    with closing(boto3.client("s3", endpoint_url=moto_endpoint)) as client:
        _put(client, bucket, "a//1")
        _put(client, bucket, "a/2")
    options = {**_OPTIONS, "ca": str(authorities[0].certificate)}
    store = FrameCache(url, storage_options=options).store
    with pytest.warns(StoreWarning, match="was skipped"):
        assert [info.key for info in store.list("a")] == ["a/2"]


def _put(client: "S3Client", bucket: str, key: str) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=b"x")


@pytest.mark.parametrize("is_other_named", [False, True])
def test_server_of_an_untrusted_authority_is_refused(
    is_other_named: bool,  # noqa: FBT001 - a parameter
    url: str,
    server: str,
    authorities: tuple[Authority, Authority],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_other_named:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities[1].certificate))
    with pytest.raises(StoreUnavailable) as raised:
        FrameCache(url).timelines()
    message = str(raised.value)
    assert f"(endpoint {server}, region us-east-1)" in message
    assert "its certificate is not trusted: it is not signed by a trusted" in message
    assert "AWS_CA_BUNDLE" in message


def test_certificate_of_another_host_is_refused(
    url: str,
    authorities: tuple[Authority, Authority],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities[0].certificate))
    certificate = _certificate(tmp_path, authorities[0], "DNS:store.example.net")
    with _serving(certificate) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{port}")
        with pytest.raises(StoreUnavailable, match="it is for another host"):
            FrameCache(url).timelines()
