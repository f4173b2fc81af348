"""Settings of the nodes of a cluster under test."""

from typing import Any

LOOPBACK = "127.0.0.1"
STORE_BYTES = 128 * 2**20
"""Object store of each node."""


def node_arguments(*, num_cpus: int) -> dict[str, Any]:
    """Settings of a node that listens on loopback only."""
    return {
        "num_cpus": num_cpus,
        "node_ip_address": LOOPBACK,
        "include_dashboard": False,
        "object_store_memory": STORE_BYTES,
    }
