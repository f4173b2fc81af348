"""``python -m framecache`` is the command line."""

import sys

from framecache.cli import main

if __name__ == "__main__":
    sys.exit(main())
