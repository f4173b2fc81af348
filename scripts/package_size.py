"""Measure what an environment installs, and fail if it is larger than is promised.

python package_size.py PYTHON [--installed MB] [--unzipped MB] [--zipped MB]

PYTHON is the interpreter of an environment that holds framecache and what it requires, and nothing
else. It prints the size of each package, and of a zip of them for AWS Lambda. 1 MB is 10**6 bytes.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Final

INSTALLED_MB: Final = 160
"""Promised size of a plain installation, with compiled modules, as pip leaves it."""
UNZIPPED_MB: Final = 250
"""Limit of AWS Lambda for a function and its layers, unzipped."""
ZIPPED_MB: Final = 50
"""Limit of AWS Lambda for a zip that is uploaded directly, not from S3."""
_LISTED_MB: Final = 1.0


def main() -> None:
    """Measure, print, and compare with the limits."""
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("python")
    options.add_argument("--installed", type=float, default=INSTALLED_MB)
    options.add_argument("--unzipped", type=float, default=UNZIPPED_MB)
    options.add_argument("--zipped", type=float, default=ZIPPED_MB)
    given = options.parse_args()
    folder = site_packages(given.python)
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = Counter[str]()
    for path in files:
        sizes[path.relative_to(folder).parts[0]] += path.stat().st_size
    for name, size in sizes.most_common():
        if megabytes(size) >= _LISTED_MB:
            print(f"{megabytes(size):8.1f} MB  {name}")
    installed, zipped = sizes.total(), size_zipped(folder, files)
    print(f"{megabytes(installed):8.1f} MB  installed; zipped: {megabytes(zipped):.1f} MB")
    measured = (
        ("installed, of a plain installation", installed, given.installed),
        ("unzipped, of AWS Lambda", installed, given.unzipped),
        ("zipped, of a direct upload to AWS Lambda", zipped, given.zipped),
    )
    exceeded = [
        f"{what}: {megabytes(size):.1f} MB, at most {limit:g}"
        for what, size, limit in measured
        if megabytes(size) > limit
    ]
    if exceeded:
        sys.exit("==> too large: " + "; ".join(exceeded))


def site_packages(python: str) -> Path:
    """Return the folder in which an environment keeps its packages."""
    program = "import sysconfig; print(sysconfig.get_path('platlib'))"
    found = subprocess.run([python, "-I", "-c", program], check=True, stdout=subprocess.PIPE)
    return Path(found.stdout.decode().strip())


def size_zipped(folder: Path, files: list[Path]) -> int:
    """Return the size in bytes of a zip of files."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder))
        return file.tell()


def megabytes(size_bytes: int) -> float:
    """Convert bytes to megabytes."""
    return size_bytes / 1e6


if __name__ == "__main__":
    main()
