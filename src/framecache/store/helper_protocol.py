"""Messages between a forked process and its helper, each of a value and a body of bytes.

The body is not pickled, so neither process copies it.
"""

import pickle
import socket
import struct
from typing import Any, Final

_LENGTHS: Final = struct.Struct("=QQ")
"""Lengths of the pickled value and of the body that follows it."""


def send(connection: socket.socket, value: object, body: bytes = b"") -> None:
    """Send a message.

    Raises:
        OSError: the other process has ended, or closed the connection.
    """
    pickled = pickle.dumps(value)
    connection.sendall(_LENGTHS.pack(len(pickled), len(body)) + pickled)
    if body:
        connection.sendall(body)


def receive(connection: socket.socket) -> tuple[Any, bytes]:
    """Wait for a message and return its value and body.

    Raises:
        EOFError: the other process has ended, or closed the connection.
        OSError: the connection failed.
    """
    pickled_bytes, body_bytes = _LENGTHS.unpack(_receive_exactly(connection, _LENGTHS.size))
    value = pickle.loads(_receive_exactly(connection, pickled_bytes))  # noqa: S301 - our own process's
    return value, _receive_exactly(connection, body_bytes)


def _receive_exactly(connection: socket.socket, size_bytes: int) -> bytes:
    pieces: list[bytes] = []
    while size_bytes and (piece := connection.recv(size_bytes, socket.MSG_WAITALL)):
        # There is a single piece unless a signal interrupts the call.
        pieces.append(piece)
        size_bytes -= len(piece)
    if size_bytes:
        raise EOFError
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
