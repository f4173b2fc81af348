"""Files that commands write: whole, or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that nobody ever sees half written; what stood there is replaced.

    Raises:
        OSError: it cannot be written, with its own name and not the temporary one.
    """
    if path.exists() and not path.is_file():
        # Renaming over a pipe or a device would take its place.
        path.write_bytes(data)
        return
    draft = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
