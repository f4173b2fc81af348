"""A program that extracts a timeline on clusters, and prints the number of frames or the error.

Prints also the addresses on which the processes of Ray listen meanwhile.

    python extract_program.py FOLDER CHUNK ADDRESS...
"""

import os
import sys
from pathlib import Path
from typing import Final

from framecache import FrameCache, FrameCacheError
from framecache.ray import ExtractProgress, extract

_LISTENING: Final = "0A"
_LOOPBACK: Final = "0100007F"


def listening() -> set[str]:
    """Return the addresses on which descendants of this process listen."""
    inodes = {
        str(link.readlink())
        for process in descendants(os.getpid())
        for link in Path(f"/proc/{process}/fd").glob("*")
        if os.path.lexists(link)
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and f"socket:[{fields[9]}]" in inodes:
                address = fields[1].partition(":")[0]
                found.add("127.0.0.1" if address.endswith(_LOOPBACK) else address)
    return found


def descendants(parent: int) -> list[int]:
    """Return a process and all that it started."""
    children = [
        int(child)
        for task in Path(f"/proc/{parent}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    return [parent, *(one for child in children for one in descendants(child))]


def result_of(folder: str, chunk: str, address: str) -> str:
    """Extract at an address, and describe what came of it."""
    addresses: set[str] = set()

    def look(_: ExtractProgress) -> None:
        addresses.update(listening())

    try:
        reports = extract({"a": chunk}, cache=FrameCache(folder), address=address, progress=look)
    except FrameCacheError as error:
        return f"{type(error).__name__}: {error}"
    return f"{reports['a'].frame_count} frames, listening on {' '.join(sorted(addresses))}"


if __name__ == "__main__":
    for each in sys.argv[3:]:
        print(result_of(sys.argv[1], sys.argv[2], each))
