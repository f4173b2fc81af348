"""Addresses at which no cluster answers, and a cluster that is started for one call."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from socket import socket
from threading import Thread

import clips

PROGRAM = Path(__file__).with_name("extract_program.py")
LIMIT_SECONDS = 120


def ran(folder: Path, *addresses: str) -> list[str]:
    """Lines that a program prints that extracts on clusters."""
    command = [sys.executable, str(PROGRAM), str(folder), str(clips.clip()), *addresses]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS)
    return run.stdout.splitlines()


def test_an_address_without_a_cluster_is_a_typed_error(tmp_path: Path) -> None:
    addresses = ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1", "127.0.0.1:port"]
    with closing(socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def refuse() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        Thread(target=refuse, daemon=True).start()
        addresses.append(f"127.0.0.1:{server.getsockname()[1]}")
        refused, client, host, port, other = ran(tmp_path, *addresses)
    assert refused.startswith("ClusterUnavailable: no Ray cluster answers at 127.0.0.1:1: Conn")
    assert client.startswith(
        "InvalidValue: 'ray://127.0.0.1:1' is not the address of a Ray cluster"
    )
    assert host.startswith("InvalidValue: '127.0.0.1' is not the address of a Ray cluster: give")
    assert port.startswith("InvalidValue: '127.0.0.1:port' is not the address of a Ray")
    assert other.startswith(
        f"ClusterUnavailable: no Ray cluster answers at {addresses[-1]}: a serv"
    )
    assert [*tmp_path.iterdir()] == []


def test_a_cluster_is_started_for_one_call_and_listens_on_loopback_only(tmp_path: Path) -> None:
    assert ran(tmp_path, "local") == ["45 frames, listening on 127.0.0.1"]
