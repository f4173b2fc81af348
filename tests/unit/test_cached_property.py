"""Property that is computed once, without a lock."""

import subprocess
import sys
import threading

from framecache._core.cached_property import lock_free_cached_property


class Counted:
    """Counter of the computations of its property."""

    def __init__(self) -> None:
        self.times = 0

    @lock_free_cached_property
    def value(self) -> list[int]:
        """Return the value, and count the computation."""
        self.times += 1
        return [self.times]


def test_value_is_computed_once() -> None:
    counted = Counted()
    assert counted.value is counted.value
    assert counted.times == 1


def test_class_attribute_has_the_docstring() -> None:
    assert Counted.value.__doc__ == "Return the value, and count the computation."


def test_concurrent_threads_get_the_same_value() -> None:
    both = threading.Barrier(2, timeout=60)

    class Holder:
        @lock_free_cached_property
        def value(self) -> object:
            both.wait()
            return object()

    holder, found = Holder(), []
    threads = [threading.Thread(target=lambda: found.append(holder.value)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    one, other = found
    assert one is other is holder.value


def test_process_forked_during_computation_computes_its_own_value() -> None:
    program = """
import faulthandler, os, threading
from framecache._core.cached_property import lock_free_cached_property

inside, forked = threading.Event(), threading.Event()

class Holder:
    @lock_free_cached_property
    def value(self):
        if threading.current_thread().name == "slow":
            inside.set()
            forked.wait()
        return "value"

slow = threading.Thread(target=lambda: Holder().value, name="slow")
slow.start()
inside.wait()
if os.fork() == 0:
    faulthandler.dump_traceback_later(30, exit=True)
    print(Holder().value, flush=True)
    os._exit(0)
os.wait()
forked.set()
slow.join()
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert run.stdout == "value\n", run.stderr
