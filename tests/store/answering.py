"""A server with the same response to every request."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


class _Canned(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200
    headers_sent: dict[str, str] = {}  # noqa: RUF012 -- each server has a class of its own
    body = b""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.close_connection = True
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_CONNECT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: tests make clients disconnect."""


@contextmanager
def answering(
    status: int = 200,
    body: bytes = b"",
    *,
    headers: dict[str, str] | None = None,
    certificate: Path | None = None,
) -> Iterator[str]:
    """Run a server with one response to every request; yield its host and port."""
    answers = {"status": status, "body": body, "headers_sent": headers or {}}
    with _Server(("127.0.0.1", 0), type("Answers", (_Canned,), answers)) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
