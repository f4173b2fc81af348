"""Libraries of Arrow. Import them from here, and only when an index is decoded or encoded.

They are not needed before. A fork waits for an import of this module that is under way on another
thread: see `framecache.store.fork_guard`. Of the libraries' own modules, some are not yet known to
Python while they are imported, so a fork could not wait for them.
"""

import arro3.core as arrow
import nanoarrow
from arro3.io import read_parquet, write_parquet

__all__ = ["arrow", "nanoarrow", "read_parquet", "write_parquet"]
