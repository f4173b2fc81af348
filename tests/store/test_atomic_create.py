"""Servers that overwrite in a create: detected, reported, and supported for one writer."""

import multiprocessing
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

import network
from framecache import Frame, FrameCache, StoreUnavailable, StoreWarning
from framecache._maintain.doctor import run_checks
from framecache.store import (
    BlobExists,
    BlobInfo,
    CreateUnsupported,
    Store,
    open_store,
    overwrite_warning,
    unwrap_store,
    with_atomic_create,
)
from framecache.store.atomic_create import PROBE_KEY
from framecache.store.memory import MemoryStore
from framecache.testing import StoreConformance
from media import made, make_clip
from network import Fault, Proxy

_UNCONDITIONAL = [network.unconditional, network.not_implemented]
_PROBE_PATH = "create-if-absent"


@pytest.fixture(params=_UNCONDITIONAL)
def overwriting_url(request: pytest.FixtureRequest, proxy: Proxy, s3_url: str) -> str:
    """Return the URL of an S3 server behind a proxy that makes requests unconditional."""
    fault: Fault = request.param
    proxy.always(fault, method="PUT")
    return s3_url


def _trials(proxy: Proxy) -> int:
    return sum(_PROBE_PATH in path for _, path in proxy.requests)


def test_unprobed_server_that_ignores_the_condition_overwrites(proxy: Proxy, s3_url: str) -> None:
    proxy.always(network.unconditional, method="PUT")
    store = open_store(s3_url)
    store.create("a", b"first")
    store.create("a", b"second")
    assert store.get("a") == b"second"


def test_unprobed_server_without_conditional_put_raises_create_unsupported(
    proxy: Proxy, s3_url: str
) -> None:
    proxy.always(network.not_implemented, method="PUT")
    with pytest.raises(CreateUnsupported, match="If-None-Match") as raised:
        open_store(s3_url).create("a", b"x")
    assert s3_url in str(raised.value)


def test_disabled_conditional_put_is_reported(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    with pytest.raises(CreateUnsupported):
        open_store(s3_url).create("a", b"x")
    with pytest.warns(StoreWarning):
        with_atomic_create(open_store(s3_url)).create("a", b"x")


def test_store_is_probed_once_per_process(proxy: Proxy, s3_url: str) -> None:
    for key in ("a", "b"):
        store = with_atomic_create(open_store(s3_url))
        store.create(key, b"x")
        with pytest.raises(BlobExists):
            store.create(key, b"y")
    assert _trials(proxy) == 2
    assert b"framecache creates this blob" in store.get(PROBE_KEY)


def test_probe_of_an_already_probed_store_makes_one_request(proxy: Proxy, s3_url: str) -> None:
    unwrap_store(with_atomic_create(open_store(s3_url))).create(PROBE_KEY, b"of another process")
    proxy.requests.clear()
    with_atomic_create(open_store(s3_url)).create("a", b"x")
    assert _trials(proxy) == 1
    assert open_store(s3_url).get(PROBE_KEY) == b"of another process"


@pytest.mark.every_store
def test_store_is_not_probed_before_the_first_create(store_url: str) -> None:
    store = with_atomic_create(open_store(store_url))
    store.put("a", b"x")
    assert store.get("a") == b"x"
    assert [info.key for info in store.list("")] == ["a"]


@pytest.mark.parametrize("fault", [network.slow_down, network.reset_before])
def test_failed_probe_is_repeated_on_the_next_create(
    fault: Fault, proxy: Proxy, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache.store.client_config._MAX_RETRIES", 0)
    store = with_atomic_create(open_store(s3_url))
    for _ in range(2):
        proxy.inject(fault, times=1, within=_PROBE_PATH)
        with pytest.raises(StoreUnavailable):
            store.create("a", b"x")
        assert proxy.is_done
    store.create("a", b"x")
    with pytest.raises(BlobExists):
        store.create("a", b"y")


def test_probe_with_a_failed_second_request_is_repeated(
    proxy: Proxy, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framecache.store.client_config._MAX_RETRIES", 0)
    store = with_atomic_create(open_store(s3_url))
    proxy.inject(network.none, times=1, within=_PROBE_PATH)
    proxy.inject(network.reset_before, times=1, within=_PROBE_PATH)
    with pytest.raises(StoreUnavailable):
        store.create("a", b"x")
    store.create("a", b"x")
    assert _trials(proxy) == 3


@pytest.mark.parametrize("fault", [network.reset_after, network.slow_down, network.conflict])
def test_lost_response_to_the_probe_does_not_disable_atomic_create(
    fault: Fault, proxy: Proxy, s3_url: str
) -> None:
    proxy.inject(fault, times=1, within=_PROBE_PATH)
    store = with_atomic_create(open_store(s3_url))
    try:
        store.create("a", b"x")
    except StoreUnavailable:
        store.create("a", b"x")
    with pytest.raises(BlobExists):
        store.create("a", b"y")


def test_threads_share_one_probe_and_one_warning(overwriting_url: str, proxy: Proxy) -> None:
    store = with_atomic_create(open_store(overwriting_url))
    barrier = Barrier(8)

    def create(number: int) -> None:
        barrier.wait()
        store.create(f"a/{number}", b"x")

    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("always")
        list(pool.map(create, range(8)))
    assert [str(warning.message) for warning in caught] == [
        overwrite_warning(open_store(overwriting_url).display_name)
    ]
    assert caught[0].category is StoreWarning
    trials = _trials(proxy)
    with_atomic_create(open_store(overwriting_url)).create("b", b"x")
    assert _trials(proxy) == trials


def test_warning_states_problem_place_and_remedy(overwriting_url: str) -> None:
    with pytest.warns(StoreWarning) as caught:
        with_atomic_create(open_store(overwriting_url)).create("a", b"x")
    message = str(caught[0].message)
    assert message.startswith(f"{open_store(overwriting_url).display_name}: ")
    assert "only one program write to it at a time" in message
    assert "Amazon S3" in message


def test_warning_raised_as_an_error_is_raised_once(overwriting_url: str) -> None:
    store = with_atomic_create(open_store(overwriting_url))
    with pytest.raises(StoreWarning):
        store.create("a", b"x")
    store.create("a", b"x")
    with pytest.raises(BlobExists):
        store.create("a", b"y")


def test_put_during_an_emulated_create_is_not_lost(
    memory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(1) as pool:
        writing: list[Future[None]] = []
        head = MemoryStore.head

        def head_before_a_put(store: MemoryStore, key: str) -> BlobInfo:
            try:
                return head(store, key)
            finally:
                if key == "a":
                    writing.append(pool.submit(with_atomic_create(store).put, "a", b"put"))
                    wait(writing, timeout=0.2)  # it must not succeed before the create ends

        monkeypatch.setattr(MemoryStore, "create", MemoryStore.put)
        monkeypatch.setattr(MemoryStore, "head", head_before_a_put)
        store = with_atomic_create(open_store(memory_url))
        with pytest.warns(StoreWarning):
            store.create("a", b"created")
        writing[0].result()
    assert store.get("a") == b"put"


def test_pickled_store_is_probed_in_the_other_process(overwriting_url: str) -> None:
    store = with_atomic_create(open_store(overwriting_url))
    assert pickle.loads(pickle.dumps(store)).url == store.url
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_warned, (store,)) == [
            overwrite_warning(open_store(overwriting_url).display_name)
        ]


def _warned(store: Store) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store.create("a", b"x")
        store.create("b", b"x")
    return [str(warning.message) for warning in caught]


def test_doctor_reports_the_same_problem(overwriting_url: str) -> None:
    cache = FrameCache(overwriting_url)
    failed = {check.name: check.detail for check in run_checks(cache.store) if not check.ok}
    assert failed == {"create once": overwrite_warning(open_store(overwriting_url).display_name)}
    assert list(cache.store.list("")) == []


def _clip() -> Path:
    return made("network.mp4", lambda path: make_clip(path, frames=6))


def test_single_writer_works_without_atomic_create(overwriting_url: str, tmp_path: Path) -> None:
    reference = FrameCache(str(tmp_path)).timeline("t")
    reference.extract([_clip()])
    jpegs = list(reference.jpegs(range(6)))

    timeline = FrameCache(overwriting_url).timeline("t")
    with pytest.warns(StoreWarning):
        report = timeline.extract([_clip()])
    assert report.frames_extracted == 6
    assert FrameCache(overwriting_url).timeline("t").extract([_clip()]).frames_extracted == 0
    assert list(FrameCache(overwriting_url).timeline("t").jpegs(range(6))) == jpegs
    timeline.clear()
    assert not FrameCache(overwriting_url).timeline("t").exists
    timeline.rebuild()
    assert list(FrameCache(overwriting_url).timeline("t").jpegs(range(6))) == jpegs
    written = FrameCache(overwriting_url).timeline("w")
    written.write([Frame(n, 0, n / 5, np.full((16, 16, 3), n, np.uint8)) for n in range(40)])
    assert len(FrameCache(overwriting_url).timeline("w")) == 40
    written.delete()
    timeline.delete()
    assert [info.key for info in open_store(overwriting_url).list("")] in ([PROBE_KEY], [])


class TestLyingServer(StoreConformance):
    test_long_listing_is_complete = None  # type: ignore[assignment]  # takes long, and creates nothing

    @pytest.fixture
    def store(self, proxy: Proxy, s3_url: str) -> Store:
        proxy.always(network.unconditional, method="PUT")
        store = with_atomic_create(open_store(s3_url))
        with pytest.warns(StoreWarning):
            store.create("a", b"x")
        store.delete(["a", PROBE_KEY])
        return store


_WITHOUT_LINKS = """
import ctypes, errno, platform, struct, sys, warnings
from framecache import FrameCache

# A filter of system calls, as classic BPF: link and linkat fail, everything else is allowed.
link, linkat = {"x86_64": (86, 265), "aarch64": (37, 37)}[platform.machine()]
program = b"".join(struct.pack("HBBI", *step) for step in [
    (0x20, 0, 0, 0), (0x15, 1, 0, link), (0x15, 0, 1, linkat),
    (0x06, 0, 0, 0x00050000 | errno.EPERM), (0x06, 0, 0, 0x7FFF0000),
])
steps = ctypes.create_string_buffer(program)
fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(steps))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, fprog, 0, 0) == 0

timeline = FrameCache(sys.argv[1]).timeline("t")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    timeline.extract([sys.argv[2]])
    timeline.extract([sys.argv[2]])
print(len(list(timeline.jpegs(range(6)))), *(warning.message for warning in caught))
"""


def test_disk_without_hard_links_serves_a_single_writer(local_url: str) -> None:
    command = [sys.executable, "-c", _WITHOUT_LINKS, local_url, str(_clip())]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert finished.stderr == ""
    assert finished.stdout == f"6 {overwrite_warning(f'file://{local_url}')}\n"
    assert len(list(FrameCache(local_url).timeline("t").jpegs(range(6)))) == 6


_FORK_WHILE_A_TRIAL_IS_LOOKED_AT = """
import os, signal, threading
from framecache.store import atomic_create, open_store, with_atomic_create
store = with_atomic_create(open_store("memory://tried"))
store.create("first", b"")
(probe,) = atomic_create._process.shared.probes.values()
is_held, is_over = threading.Event(), threading.Event()
def hold():
    with probe._condition:
        is_held.set()
        is_over.wait()
threading.Thread(target=hold, daemon=True).start()
is_held.wait()
child = os.fork()
if child == 0:
    store.create("second", b"")
    os._exit(0)
watchdog = threading.Timer(30, os.kill, (child, signal.SIGKILL))
watchdog.start()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
watchdog.cancel()
is_over.set()
"""


def test_process_forked_while_a_thread_reads_the_probe_can_create() -> None:
    command = [sys.executable, "-c", _FORK_WHILE_A_TRIAL_IS_LOOKED_AT]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert run.stdout == "0\n"
