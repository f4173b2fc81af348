"""Operations on timelines whose frames have renditions."""

from collections.abc import Callable
from typing import Final

import pytest
from invariants import PREFIX, TIMELINE, contents
from operations import (
    BOTH,
    FIRST,
    SECOND,
    THIRD,
    Operation,
    append,
    chunks,
    clear,
    collect,
    delete,
    extract,
    repack,
    repair,
    write,
)

from dying import dying_at
from framecache import Timeline
from framecache.model import Layout
from framecache.store import Store
from framecache.testing import Crash

SIDES: Final = (8,)
_OTHER_SIDES: Final = (4,)


def extract_with_renditions(store: Store, layout: Layout = "objects") -> object:
    """Extract the first two chunks, and store renditions."""
    return Timeline(store, TIMELINE).extract(chunks(2), layout=layout, renditions=SIDES, workers=1)


def _extract_into_packs(store: Store) -> object:
    return extract_with_renditions(store, "packs")


def _extract_frames_into_packs(store: Store) -> object:
    return Timeline(store, TIMELINE).extract(chunks(2), layout="packs", workers=1)


def _add_renditions(store: Store) -> object:
    return Timeline(store, TIMELINE).add_renditions(SIDES, workers=1)


def _rebuild(sides: tuple[int, ...]) -> Callable[[Store], object]:
    return lambda store: Timeline(store, TIMELINE).rebuild(renditions=sides, workers=1)


def _write_with_renditions(store: Store) -> None:
    write(range(3))(store)
    _add_renditions(store)


def _damage_renditions(store: Store) -> None:
    """Flip a bit of a rendition, and lose another one."""
    extract_with_renditions(store)
    first, second, *_ = sorted(_renditions(store))
    flipped = bytearray(store.get(first))
    flipped[-9] ^= 1
    store.put(first, bytes(flipped))
    store.delete([second])


def _leave_renditions(store: Store) -> None:
    """Leave the renditions of an unfinished removal, and of a program that died."""
    extract_with_renditions(store, "packs")
    left = contents(store)
    delete(store)
    extract_with_renditions(store)
    for key, body in left.items():
        if "/renditions/" in key:
            store.put(key, body)
    dying = Timeline(dying_at(store, "create", "/timeline/"), TIMELINE)
    with pytest.raises(Crash):
        dying.add_renditions(_OTHER_SIDES, workers=1)


def _renditions(store: Store) -> list[str]:
    return [key for key in contents(store) if key.startswith(f"{PREFIX}renditions/")]


OPERATIONS_OF_RENDITIONS: Final = (
    Operation(
        "extract renditions",
        extract_with_renditions,
        after=BOTH,
        together=(FIRST, SECOND),
        renditions=SIDES,
        stride=5,
    ),
    Operation(
        "extract renditions into packs",
        _extract_into_packs,
        after=BOTH,
        together=(FIRST, SECOND),
        renditions=SIDES,
        layout="packs",
        stride=5,
    ),
    Operation(
        "append renditions",
        append,
        extract_with_renditions,
        before=BOTH,
        after=BOTH | THIRD,
        together=(THIRD,),
        renditions=SIDES,
        stride=3,
    ),
    Operation(
        "add renditions",
        _add_renditions,
        extract,
        before=BOTH,
        after=BOTH,
        renditions=SIDES,
        stride=5,
    ),
    Operation(
        "add renditions to packs",
        _add_renditions,
        _extract_frames_into_packs,
        before=BOTH,
        after=BOTH,
        renditions=SIDES,
        layout="packs",
        stride=5,
    ),
    Operation(
        "add renditions to written frames",
        _add_renditions,
        write(range(3)),
        before=frozenset(range(3)),
        after=frozenset(range(3)),
        renditions=SIDES,
        is_of_written_frames=True,
        stride=5,
    ),
    Operation(
        "write renditions",
        write(range(2, 6)),
        _write_with_renditions,
        before=frozenset(range(3)),
        after=frozenset(range(6)),
        together=(frozenset(range(3, 6)),),
        renditions=SIDES,
        is_of_written_frames=True,
    ),
    Operation(
        "rebuild with renditions",
        _rebuild(SIDES),
        extract,
        before=BOTH,
        after=BOTH,
        together=(FIRST, SECOND),
        starts_new_epoch=True,
        renditions=SIDES,
        stride=7,
    ),
    Operation(
        "rebuild without renditions",
        _rebuild(()),
        extract_with_renditions,
        before=BOTH,
        after=BOTH,
        together=(FIRST, SECOND),
        starts_new_epoch=True,
        stride=7,
    ),
    Operation(
        "clear renditions",
        clear,
        extract_with_renditions,
        before=BOTH,
        starts_new_epoch=True,
    ),
    Operation(
        "delete renditions",
        delete,
        _extract_into_packs,
        before=BOTH,
        starts_new_epoch=True,
        leaves_nothing=True,
    ),
    Operation(
        "repack renditions into packs",
        repack("packs"),
        extract_with_renditions,
        before=BOTH,
        after=BOTH,
        renditions=SIDES,
        layout="packs",
        stride=7,
    ),
    Operation(
        "repack renditions into objects",
        repack("objects"),
        _extract_into_packs,
        before=BOTH,
        after=BOTH,
        renditions=SIDES,
        stride=7,
    ),
    Operation(
        "repair renditions",
        repair,
        _damage_renditions,
        before=BOTH - {0, 1},
        after=BOTH,
        damaged=frozenset({0, 1}),
        renditions=SIDES,
        stride=3,
    ),
    Operation(
        "gc of renditions",
        collect,
        _leave_renditions,
        before=BOTH,
        after=BOTH,
        renditions=SIDES,
        tidies=True,
    ),
)
