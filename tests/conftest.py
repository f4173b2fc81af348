"""Stores to test against, each empty and with the environment its URL needs."""

import gc
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

import pytest
from hypothesis import settings

import framecache._maintain.verify.run  # noqa: F401 -- or a proof, whose lines are not noted, does so first
import recorded
from benchmarks.server import free_ports, start_cluster
from network import Proxy, running_proxy
from outside import NOBODY, s3_client
from proving import ANSWERS_PROFILE, Proof

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The duration of an example means nothing on a shared machine.
settings.register_profile("framecache", deadline=None)
settings.load_profile("framecache")


Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_FOLDERS_OF_PACKAGES = {
    "awslambdaric": "lambda_runtime",
    "ray": "ray_cluster",
    "torch": "pytorch",
}
collect_ignore_glob = [
    f"{folder}/test_*.py"
    for package, folder in _FOLDERS_OF_PACKAGES.items()
    if find_spec(package) is None
]
"""Tests whose packages are missing. A folder "tests/torch" would be imported as PyTorch."""

_TESTS = Path(__file__).parent
_MARKS_OF_PLACES = {
    "proofs/": "proof",
    "pytorch/": "torch",
    "lambda_runtime/": "lambda_runtime",
    "ray_cluster/": "ray",
    "viewer/": "browser",
    "interop/test_translate.py": "slow",
    "interop/test_translate_browser.py": "browser",
    "interop/test_exchange_peers.py": "interop",
    "interop/test_translate_readers.py": "interop",
    "interop/test_vlm_transformers.py": "interop",
    "speed/test_benchmarks.py": "bench",
    "aws_lambda/test_append_by_events.py": "slow",
    "cli/": "slow",
    "corpus/": "slow",
    "server/": "slow",
    "typing/": "slow",
    "video/test_video_tables.py": "slow",
    "api/test_sample_tables.py": "slow",
    "api/test_concurrent_programs.py": "slow",
    "api/test_corrupt_manifest.py": "slow",
    "api/test_ctrl_c.py": "slow",
    "api/test_epochs.py": "slow",
    "api/test_exchange_bad_input.py": "slow",
    "api/test_exchange_readers.py": "slow",
    "api/test_footprint.py": "slow",
    "api/test_functional_differential.py": "slow",
    "api/test_gc.py": "slow",
    "api/test_layout_video.py": "slow",
    "api/test_local_cache.py": "slow",
    "api/test_packs_read.py": "slow",
    "api/test_packs_write.py": "slow",
    "api/test_repack.py": "slow",
    "api/test_requests.py": "slow",
    "api/test_scenes.py": "slow",
    "api/test_stream_clock.py": "slow",
    "api/test_timeline_summaries.py": "slow",
    "api/test_unusual_file_names.py": "slow",
    "api/test_verify.py": "slow",
    "api/test_write_conflicts.py": "slow",
    "video/test_color.py": "slow",
    "video/test_pixel_formats.py": "slow",
    "video/test_video_description.py": "slow",
    "video/test_video_sparse.py": "slow",
    "store/test_forks.py": "slow",
    "store/test_network_faults.py": "slow",
    "store/test_atomic_create.py": "slow",
    "test_demo.py": "docs",
    "test_docs.py": "docs",
}
_RANKS = {"proof": 0, "docs": 1, "browser": 2, "slow": 3}
"""Order of the files by their marks; those without come last."""
_MARKS_OF_FIXTURES = {"ceph_cluster": "ceph", "moto_endpoint": "s3"}
_S3 = pytest.param("s3", marks=pytest.mark.s3)
_STORES = {
    "store_url": (
        "memory",
        "local",
        _S3,
        pytest.param("ceph", marks=pytest.mark.ceph),
    ),
    "quick_url": ("memory", "local"),
    "served_url": ("local", pytest.param("ceph", marks=pytest.mark.ceph)),
}
"""Kinds of stores by fixture, the quickest first."""

_FIGURES = "figures of a proof"
_CEPH_SCRIPT = str(Path(__file__).parents[1] / "scripts" / "ceph-rgw.sh")
_ACCESS_KEY = "test"
_SECRET_KEY = "testsecret"
_REGION = "us-east-1"


class CephCluster(NamedTuple):
    """A Ceph of this test session."""

    folder: str
    endpoint: str
    """Endpoint of the gateway it was started with."""


def pytest_configure(config: pytest.Config) -> None:
    """Choose the number of requests, and let Ctrl-C end programs under test.

    While tests are collected, nearly all objects stay, and the garbage collector would look at each
    again and again.

    A shell that runs the tests in the background has them ignore the signal, and whatever they
    start inherits this.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
    if not hasattr(config, "workerinput"):
        recorded.remove_unused()
    proof = Proof(is_long=config.getoption("--proofs") == "long")
    examples = proof.size(short=40, long=400)
    settings.register_profile(ANSWERS_PROFILE, deadline=None, max_examples=examples)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the size of the proofs, and the choice of stores."""
    parser.addoption("--proofs", choices=("short", "long"), default="short")
    parser.addoption(
        "--every-store",
        action="store_true",
        help="run each test of store_url, quick_url and served_url on every kind of store",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the stores of a test that takes a fixture of ``_STORES``.

    The conformance tests show that all kinds of stores behave alike, so one kind is enough,
    except for tests that are marked ``every_store``. Of the two S3 servers, these take Ceph if it
    is there.
    """
    on_all = metafunc.config.getoption("--every-store")
    on_each_kind = metafunc.definition.get_closest_marker("every_store") is not None
    for fixture, kinds in _STORES.items():
        if fixture not in metafunc.fixturenames:
            continue
        if on_all:
            chosen = kinds
        elif on_each_kind:
            is_twice = _runs_ceph(metafunc.config)
            chosen = tuple(one for one in kinds if one is not _S3 or not is_twice)
        else:
            chosen = kinds[:1]
        metafunc.parametrize(fixture, chosen, indirect=True)


def _runs_ceph(config: pytest.Config) -> bool:
    """Return whether tests that need Ceph are among those that ``-m`` selects."""
    names_a_server = {"ceph", "s3"} & {*re.findall(r"\w+", config.getoption("markexpr"))}
    return shutil.which("radosgw") is not None and not names_a_server


@pytest.hookimpl(tryfirst=True)  # before ``-m`` selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder and fixtures, and run the files that take longest first.

    A long file at the end would keep one process busy while the others idle.
    """
    ranks: dict[Path, int] = {}
    for item in items:
        for mark in _marks_of(item):
            item.add_marker(mark)
        found = [_RANKS[mark.name] for mark in item.iter_markers() if mark.name in _RANKS]
        ranks[item.path] = min([*found, ranks.get(item.path, len(_RANKS))])
    items.sort(key=lambda item: ranks[item.path])


def pytest_collection_finish() -> None:
    """Leave the collected tests out of every later garbage collection."""
    gc.freeze()
    gc.enable()


def _marks_of(item: pytest.Item) -> Iterator[str]:
    path = item.path.relative_to(_TESTS).as_posix()
    yield from (mark for place, mark in _MARKS_OF_PLACES.items() if path.startswith(place))
    names = {*getattr(item, "fixturenames", ())}
    yield from (mark for name, mark in _MARKS_OF_FIXTURES.items() if name in names)
    if path.startswith("proofs/"):
        yield "no_cover"  # coverage would make the proofs take half as long again


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what the proofs counted."""
    figures = [
        text
        for report in terminalreporter.getreports("")  # of set-ups and teardowns
        for name, text in report.user_properties
        if name == _FIGURES
    ]
    if figures:
        terminalreporter.section(f"proofs ({config.getoption('--proofs')})")
        for text in figures:
            terminalreporter.write_line(str(text))


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Iterator[Proof]:
    """The size of this run's proofs, and a place for their figures."""
    proof = Proof(is_long=request.config.getoption("--proofs") == "long")
    yield proof
    # The figures are sent with the report of the test, from any process that ran it.
    name = request.node.name.removeprefix("test_")
    request.node.user_properties.append((_FIGURES, f"{name}: {proof}"))


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty store; see `pytest_generate_tests` for its kinds."""
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def quick_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty store that needs no server."""
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def served_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty store that a service can use."""
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def memory_url() -> str:
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def local_url(tmp_path: Path) -> str:
    """A folder that does not exist yet, as a plain path."""
    return str(tmp_path / "store")


@pytest.fixture
def s3_url(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket of the in-process S3 server. It does not check credentials."""
    return _new_bucket(moto_endpoint, monkeypatch)


@pytest.fixture
def ceph_url(ceph_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket of a real S3 server. Mark a test that uses it with ``ceph``."""
    return _new_bucket(ceph_endpoint, monkeypatch)


@pytest.fixture
def proxy(moto_endpoint: str, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:  # noqa: ARG001
    """A proxy that all requests of a store at ``s3_url`` pass, until the test is over."""
    with running_proxy(moto_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def read_only_folder(small_disk: Path) -> Path:
    """A folder that not even root can write to."""
    (small_disk / "a").write_bytes(b"kept")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    return small_disk


@pytest.fixture
def locked_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process may not enter, even if root runs it."""
    folder = tmp_path / "locked"
    (folder / "store").mkdir(parents=True)
    (folder / "store" / "a").write_bytes(b"x")
    folder.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


def one_at_a_time(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Wrap a function so that only one thread calls it at a time."""
    lock = Lock()

    def alone(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        with lock:
            return function(*args, **options)

    return alone


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    from moto.s3.responses import S3Response  # noqa: PLC0415 - slow to import, seldom needed
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - same

    with pytest.MonkeyPatch.context() as patch:
        # It checks for a key before it stores it, so two concurrent creations could both succeed.
        answer = one_at_a_time(S3Response._key_response)  # noqa: SLF001 - once a body has come
        patch.setattr(S3Response, "_key_response", answer)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture(scope="session")
def ceph_endpoint(ceph_cluster: CephCluster) -> str:
    return ceph_cluster.endpoint


@pytest.fixture(scope="session")
def ceph_gateways(ceph_cluster: CephCluster) -> tuple[str, str]:
    """Two gateways of one cluster, the first of them that of ``ceph_url``."""
    (port,) = free_ports(1)
    start = [_CEPH_SCRIPT, "gateway", ceph_cluster.folder, str(port)]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    return ceph_cluster.endpoint, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def ceph_cluster() -> Iterator[CephCluster]:
    if shutil.which("radosgw") is None:
        message = "radosgw is not installed; scripts/ceph-rgw.sh names the packages it needs"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with tempfile.TemporaryDirectory(prefix="framecache-ceph-") as folder:
        port = start_cluster(folder)
        try:
            yield CephCluster(folder, f"http://127.0.0.1:{port}")
        finally:
            subprocess.run([_CEPH_SCRIPT, "stop", folder], check=True)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Chromium. A process can have one Playwright, so all tests share it."""
    from viewer_pictures import CHROMIUM, launched  # noqa: PLC0415 - slow to import, seldom needed

    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with launched() as browser:
        yield browser


def _new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    _use_endpoint(endpoint, monkeypatch)
    bucket = f"framecache-{uuid.uuid4().hex}"
    s3_client(endpoint).create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


def _use_endpoint(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _SECRET_KEY)
    monkeypatch.setenv("AWS_REGION", _REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", _REGION)
    # An AWS profile of the current user must not take part in the tests.
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
