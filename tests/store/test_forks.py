"""A store in a forked process continues to work; a spawned process opens its own."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from framecache import Frame, FrameCache
from outside import outside

KINDS = ["local", "s3", pytest.param("ceph", marks=pytest.mark.ceph)]

# This code runs in the child of a process that has used the store, and prints.
_FORK = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from framecache import FrameCache, StoreUnavailable
from framecache.store import open_store
store = open_store(sys.argv[1])
store.put("old", b"old")
{before}
child = os.fork()
if child == 0:
    def work():
{work}
    work()
    sys.exit()
_, status = os.waitpid(child, 0)
{after}
sys.exit(status)
"""
_DEADLINE_SECONDS = 100


@pytest.fixture(params=KINDS)
def shared_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store that several processes see."""
    return str(request.getfixturevalue(f"{request.param}_url"))


def in_child(url: str, work: str, *, before: str = "", after: str = "") -> list[str]:
    """Return the lines that a forked child, and then its parent, print."""
    indented = "".join(f"        {line}\n" for line in work.strip().splitlines())
    program = _FORK.format(work=indented, before=before, after=after)
    command = [sys.executable, "-W", "error", "-c", program, url]
    run = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=_DEADLINE_SECONDS
    )
    assert run.stderr == ""
    assert run.returncode == 0
    return run.stdout.splitlines()


def test_forked_child_and_its_parent_both_use_the_store(shared_url: str) -> None:
    work = """
print(store.get("old"), flush=True)
store.put("new", b"from the child")
"""
    lines = in_child(shared_url, work, after='print(store.get("new"))')
    assert lines == ["b'old'", "b'from the child'"]


def test_forked_child_uses_a_copy_of_the_memory_store(memory_url: str) -> None:
    work = """
print(store.get("old"), flush=True)
store.put("new", b"from the child")
"""
    lines = in_child(memory_url, work, after='print([info.key for info in store.list("")])')
    assert lines == ["b'old'", "['old']"]


def test_store_opened_in_a_forked_child_is_usable(shared_url: str) -> None:
    assert in_child(shared_url, "print(open_store(sys.argv[1]).get('old'))") == ["b'old'"]


def test_concurrent_requests_in_several_children_each_get_their_own_response(s3_url: str) -> None:
    before = """
for number in range(20):
    store.put(f"many/{number}", b"%d," % number * (10_000 + number))
for _ in range(2):
    if os.fork() == 0:
        break
"""
    work = """
def is_right(number):
    number %= 20
    body = store.get(f"many/{number}")
    part = store.get_range(f"many/{number}", start=20_000, length=100 + number)
    return body == b"%d," % number * (10_000 + number) and part == body[20_000:20_100 + number]
with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(is_right, range(60))), flush=True)
"""
    lines = in_child(
        s3_url,
        work,
        before=before,
        after="while True:\n try: os.wait()\n except ChildProcessError: break",
    )
    assert lines == ["60", "60", "60"]


def test_forked_grandchild_makes_its_own_requests(s3_url: str) -> None:
    work = """
store.get("old")
if os.fork() == 0:
    print(store.get("old"), flush=True)
    sys.exit()
os.wait()
print(store.get("old"))
"""
    assert in_child(s3_url, work) == ["b'old'", "b'old'"]


def test_warnings_in_a_forked_child_are_raised_in_the_child(s3_url: str) -> None:
    outside(s3_url).put("odd//1", b"x")
    work = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        print([info.key for info in store.list("")])
print([(one.category.__name__, "'odd//1' was skipped" in str(one.message)) for one in caught])
"""
    assert in_child(s3_url, work) == ["['old']"] * 2 + ["[('StoreWarning', True)]"]


def test_interrupted_request_does_not_affect_the_next_one(s3_url: str) -> None:
    work = """
for number in range(3):
    store.put(f"listed/{number}", b"")
    next(store.list("listed"))
def blocks():
    yield bytes(20 << 20)
    raise KeyError("the caller's own")
try:
    store.put_stream("broken", blocks())
except KeyError as error:
    print(error)
print(store.get("old"), [info.key for info in store.list("")])
"""
    kept = [f"listed/{number}" for number in range(3)]
    assert in_child(s3_url, work) == ['"the caller\'s own"', f"b'old' {[*kept, 'old']}"]


_HELPER = "Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()"


def test_killed_helper_is_replaced(s3_url: str) -> None:
    work = f"""
store.get("old")
(helper,) = {_HELPER}
listing = store.list("")
os.kill(int(helper), {int(signal.SIGKILL)})
os.waitid(os.P_PID, int(helper), os.WEXITED | os.WNOWAIT)
print(store.get("old"))
"""
    assert in_child(s3_url, work) == ["b'old'"]


@pytest.mark.parametrize(
    "end", ["sys.exit()", "os._exit(0)", f"os.kill(os.getpid(), {int(signal.SIGKILL)})"]
)
def test_helper_ends_with_its_process(s3_url: str, end: str) -> None:
    work = f"""
store.get("old")
print(*{_HELPER}, flush=True)
{end}
"""
    (helper,) = in_child(s3_url, work, after="status = 0")
    _wait_for_end(helper)


def test_process_forked_during_helper_start_does_not_keep_the_helper_running(s3_url: str) -> None:
    # The fork comes when a socket has just been made, unless it waits.
    work = f"""
import socket, threading, time
has_socket, has_forked = threading.Event(), threading.Event()
make = socket.socketpair
def slow_socketpair():
    pair = make()
    has_socket.set()
    has_forked.wait(2)
    return pair
socket.socketpair = slow_socketpair
def fork():
    global other
    has_socket.wait()
    other = os.fork()
    if other == 0:
        os.close(1)
        os.close(2)
        time.sleep({_DEADLINE_SECONDS})
        os._exit(0)
    has_forked.set()
forking = threading.Thread(target=fork)
forking.start()
store.get("old")
forking.join()
helper, = set({_HELPER}) - {{str(other)}}
print(helper, other, flush=True)
os._exit(0)
"""
    ((helper, other),) = (line.split() for line in in_child(s3_url, work))
    try:
        _wait_for_end(helper)
    finally:
        os.kill(int(other), signal.SIGKILL)


def test_process_forked_during_a_request_does_not_take_part_in_it(s3_url: str) -> None:
    work = """
def blocks():
    yield b"a"
    if os.fork() == 0:
        yield b"b"
    else:
        os.wait()
        yield b"c"
try:
    store.put_stream("blocks", blocks())
except StoreUnavailable as error:
    print("refused", flush=True)
else:
    print(store.get("blocks"), flush=True)
os._exit(0)
"""
    assert in_child(s3_url, work) == ["refused", "b'ac'"]


def _wait_for_end(helper: str) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while Path(f"/proc/{helper}").exists() and _is_ours(helper):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_ours(pid: str) -> bool:
    try:
        return "serving" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("executable", ["", "/nowhere/python", "/bin/true"])
def test_error_advises_spawn_when_no_helper_can_start(s3_url: str, executable: str) -> None:
    work = f"""
sys.executable = {executable!r}
try:
    store.get("old")
except StoreUnavailable as error:
    print(error)
"""
    (line,) = in_child(s3_url, work, after='store.get("old")')
    assert 'Start processes with the "spawn" method' in line


def test_store_errors_are_the_same_in_a_forked_child(s3_url: str) -> None:
    report = """
from framecache.store import BlobExists, BlobMissing
def failures(bucket):
    for request in (
        lambda: store.get("none"),
        lambda: store.create("old", b""),
        lambda: store.get("../a"),
        lambda: bucket.get("old"),
    ):
        try:
            request()
        except Exception as error:
            yield repr(error)
missing = open_store(sys.argv[1] + "-none")
print("\\n".join(failures(missing)), flush=True)
"""
    lines = in_child(s3_url, 'print("\\n".join(failures(missing)))', before=report)
    assert len(lines) == 8
    assert lines[:4] == lines[4:]


_WHILE_THREADS_READ = """
import faulthandler, os, sys, threading
import numpy as np
from framecache import Frame, FrameCache

LEVELS = range(20, 240, 20)
timeline = FrameCache(sys.argv[1]).timeline("t")
timeline.write(
    [Frame(n, 0, float(n), np.full((16, 16, 3), level, np.uint8)) for n, level in enumerate(LEVELS)]
)

def levels():
    frames = FrameCache(sys.argv[1]).timeline("t").frames()
    return [round(frame.image.mean() / 20) * 20 for frame in frames]

def read_on(is_reading):
    while True:
        levels()
        is_reading.set()

for _ in range(3):
    is_reading = threading.Event()
    threading.Thread(target=read_on, args=[is_reading], daemon=True).start()
    is_reading.wait()
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(60, exit=True)
        os._exit(0 if levels() == list(LEVELS) else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("kind", "children"), [("memory", 8), ("local", 8), ("s3", 3)])
def test_children_read_correct_frames_while_parent_threads_read(
    kind: str, children: int, request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue(f"{kind}_url"))
    run = subprocess.run(
        [sys.executable, "-c", _WHILE_THREADS_READ, url, str(children)],
        check=False,
        capture_output=True,
        text=True,
        timeout=4 * _DEADLINE_SECONDS,
    )
    assert run.stdout.split() == ["0"] * children, run.stderr


_WHILE_A_THREAD_IMPORTS = """
import faulthandler, os, sys, threading
from framecache import FrameCache
timeline = FrameCache(sys.argv[1]).timeline("t")
reading = threading.Thread(target=lambda: list(timeline.frames()), daemon=True)
assert "framecache._index.lazy_arrow" not in sys.modules
reading.start()
while "framecache._index.lazy_arrow" not in sys.modules:
    pass
child = os.fork()
if child == 0:
    faulthandler.dump_traceback_later(60, exit=True)
    print(len(list(timeline.frames())), flush=True)
    os._exit(0)
os.waitpid(child, 0)
reading.join()
"""


def test_child_forked_during_an_import_of_the_reader_can_read(
    local_url: str,
) -> None:
    FrameCache(local_url).timeline("t").write([Frame(0, 0, 0.0, np.zeros((16, 16, 3), np.uint8))])
    command = [sys.executable, "-c", _WHILE_A_THREAD_IMPORTS, local_url]
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=2 * _DEADLINE_SECONDS
    )
    assert run.stdout == "1\n", run.stderr


def test_pickled_timeline_contains_no_snapshot(local_url: str) -> None:
    writer = FrameCache(local_url).timeline("t")
    writer.write([Frame(0, 0, 0.0, np.zeros((16, 16, 3), np.uint8))])
    timeline = FrameCache(local_url).timeline("t")
    unread = pickle.dumps(timeline)
    assert len(timeline) == 1
    assert pickle.dumps(timeline) == unread
    writer.write([Frame(1, 0, 1.0, np.zeros((16, 16, 3), np.uint8))])
    assert len(pickle.loads(pickle.dumps(timeline))) == 2


def read_sum(cache: FrameCache) -> int:
    return int(cache.timeline("t").frame(0).image.astype(np.int64).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_cache_and_timelines_can_be_sent_to_a_spawned_process(
    kind: str, request: pytest.FixtureRequest
) -> None:
    cache = FrameCache(str(request.getfixturevalue(f"{kind}_url")))
    timeline = cache.timeline("t")
    timeline.write([Frame(0, 0, 0.0, np.full((16, 16, 3), 128, np.uint8))])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_sum, (cache,)) == read_sum(cache)
    assert len(pickle.loads(pickle.dumps(timeline))) == 1
    overlays = timeline.overlays(job_id="j", stage="s")
    assert pickle.loads(pickle.dumps(overlays)).frames() == []


_WHILE_A_THREAD_IS_IN_A_NATIVE_CALL = """
import os, threading, time
from framecache._core.native_calls import native_call

entered, returned = threading.Event(), threading.Event()

@native_call
def decode():
    entered.set()
    time.sleep(0.2)
    returned.set()

calling = threading.Thread(target=decode)
calling.start()
entered.wait()
child = os.fork()
if child == 0:
    native_call(print)("returned" if returned.is_set() else "under way", flush=True)
    os._exit(0)
os.waitpid(child, 0)
native_call(calling.join)()
"""


def test_fork_waits_for_native_calls_of_other_threads() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WHILE_A_THREAD_IS_IN_A_NATIVE_CALL],
        check=True,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
    )
    assert run.stdout == "returned\n"


_INTERRUPTED_AT_A_FORK = """
import os, signal, threading, time
from framecache._core.native_calls import native_call

entered, interrupted = threading.Event(), threading.Event()

@native_call
def decode():
    entered.set()
    interrupted.wait()

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    interrupted.set()

calling = threading.Thread(target=decode)
calling.start()
entered.wait()
threading.Timer(0.2, interrupt).start()
try:
    child = os.fork()
    if child == 0:
        os._exit(0)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
os.waitpid(-1, 0)
calling.join()
child = os.fork()
if child == 0:
    native_call(print)("reads", flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_interrupt_during_a_waiting_fork_is_not_lost() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED_AT_A_FORK],
        check=True,
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
    )
    assert run.stdout == "interrupted\nreads\n", run.stderr
