"""Make a contact sheet of frames that are opened by URL, with fsspec and Pillow.

    FRAMECACHE_URL=s3://media python examples/open_frames.py match-42 sheet.jpg

It needs the extra ``fsspec`` and Pillow, and no other part of framecache's API.
"""

import argparse
from pathlib import Path
from urllib.parse import quote

import fsspec
from PIL import Image

COLUMNS, ROWS = 4, 3
THUMBNAIL = (240, 135)


def main(timeline_id: str, sheet: Path) -> None:
    """Paste frames from all over the timeline into one picture."""
    files = fsspec.filesystem("framecache")
    paths = files.glob(f"framecache://{quote(timeline_id, safe='')}/frames/*.jpg")
    paths.sort(key=lambda path: int(Path(path).stem))
    chosen = paths[:: max(1, len(paths) // (COLUMNS * ROWS))][: COLUMNS * ROWS]
    width, height = THUMBNAIL
    picture = Image.new("RGB", (COLUMNS * width, ROWS * height))
    for place, path in enumerate(chosen):
        with files.open(path) as file, Image.open(file) as frame:
            frame.thumbnail(THUMBNAIL)
            picture.paste(frame, (place % COLUMNS * width, place // COLUMNS * height))
    picture.save(sheet)
    print(f"{sheet}: {len(chosen)} of {len(paths)} frames")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("timeline_id", metavar="TIMELINE")
    parser.add_argument("sheet", type=Path, metavar="FILE.jpg")
    arguments = parser.parse_args()
    main(arguments.timeline_id, arguments.sheet)
