"""The modules of Arrow. Import them from here, and only when an index is decoded or encoded.

They are not needed before, and take a tenth of a second to import. A fork waits for an import of
this module that is under way on another thread: see `framecache.store.fork_guard`.
"""

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["pa", "pq"]
