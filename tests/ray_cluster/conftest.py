"""A Ray cluster of two nodes on loopback, for all tests of this folder."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ray_cluster.nodes import node_arguments

if find_spec("ray") is not None:
    # Read when Ray is imported. Without the first, Ray takes the address of another interface.
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",  # else it keeps a token in the home folder
        "RAY_worker_niceness": "0",  # else workers starve next to other tests
    }

TESTS = Path(__file__).parents[1]
START_ATTEMPTS = 3


def started(start: Callable[[], Any]) -> Any:  # noqa: ANN401 -- Ray's
    """Start a node; Ray gives up after 30 s, which a busy machine may take."""
    for _ in range(START_ATTEMPTS - 1):
        with suppress(Exception):
            return start()
    return start()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each, to which this process is connected."""
    import ray  # noqa: PLC0415 -- absent where these tests are not run
    from ray.cluster_utils import Cluster  # noqa: PLC0415 -- same

    with pytest.MonkeyPatch.context() as patch:
        # Workers import the stores and functions of these tests.
        for folder in (TESTS, TESTS / "api"):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        arguments = node_arguments(num_cpus=1)
        nodes = started(lambda: Cluster(initialize_head=True, head_node_args=arguments))
        try:
            started(lambda: nodes.add_node(**arguments))
            ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
            yield nodes
        finally:
            ray.shutdown()
            nodes.shutdown()


@pytest.fixture
def quiet_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ray Data show no progress."""
    import ray.data  # noqa: PLC0415 -- absent where these tests are not run

    monkeypatch.setattr(ray.data.DataContext.get_current(), "enable_progress_bars", False)
