"""A server for S3, STS and a container's agent, which records the signer of each request."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_EXPIRATION = "2099-01-01T00:00:00Z"
_SIGNER = re.compile(r"Credential=(\w+)/")


@dataclass
class Server:
    """Server and the requests it received. Access keys are named after their source."""

    address: str
    signers: list[str] = field(default_factory=list)
    """The access keys of the requests for objects."""
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def running() -> Iterator[Server]:
    """Run the server until the block ends: objects are empty, and any role may be assumed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            self.send_response(200)
            data = self._answer(body).encode()
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = handle_any  # noqa: N815

        def _answer(self, body: str) -> str:
            received.paths.append(self.path)
            received.headers.append({name.lower(): value for name, value in self.headers.items()})
            if "AssumeRoleWithWebIdentity" in self.path + body:
                return _assumed("IDENTITY")
            if self.path == "/agent":
                return json.dumps(_agent("CONTAINER"))
            received.signers.extend(_SIGNER.findall(self.headers.get("Authorization", "")))
            return ""

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Server(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


def _agent(key: str) -> dict[str, str]:
    return {
        "AccessKeyId": key,
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": _EXPIRATION,
    }


def _assumed(key: str) -> str:
    return (
        '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        "<AssumeRoleWithWebIdentityResult><Credentials>"
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
        f"<SessionToken>token</SessionToken><Expiration>{_EXPIRATION}</Expiration>"
        "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
