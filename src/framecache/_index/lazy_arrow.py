"""Libraries of Arrow. Import them from here, and only when an index is decoded or encoded.

They are not needed before. A fork waits for an import of this module that is under way on another
thread: see `framecache.store.fork_guard`. Of the libraries' own modules, some are not yet known to
Python while they are imported, so a fork could not wait for them.
"""

import threading

import arro3.core as arrow
import nanoarrow
import numpy as np
from arro3.io import read_parquet, write_parquet

__all__ = ["arrow", "nanoarrow", "read_parquet", "write_parquet"]


def _load_numpy_interface() -> None:
    arrow.Array.from_numpy(np.zeros(1)).to_numpy()


# arro3 loads the C interface of numpy when it first needs it. If Ctrl-C interrupts that, it panics:
# it prints a traceback and raises an exception that is not a KeyboardInterrupt. Python runs
# handlers of signals on the main thread only, so on another thread nothing can interrupt it.
_loading = threading.Thread(target=_load_numpy_interface, daemon=True)
_loading.start()
_loading.join()
