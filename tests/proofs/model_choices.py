"""Hypothesis strategies; simple values come first, because it shrinks towards them."""

from typing import Final

from hypothesis import strategies as st
from model_expected import CHUNKS, METADATA, PICTURES
from model_plain import (
    ALL,
    HALF,
    AddRenditions,
    Append,
    Clear,
    Collect,
    Delete,
    DeleteLeases,
    Extract,
    Layout,
    OnConflict,
    Operation,
    Rebuild,
    Repack,
    Repair,
    Write,
)
from model_reads import Ask, ReadAt, ReadMany, ReadOne
from model_world import Death, Disturbance, PlannedFault, RequestFaults

from framecache.testing import Action, possible_faults

Plan = tuple[PlannedFault, ...]

REQUESTS: Final[tuple[tuple[Action, str], ...]] = (
    ("create", "/claims/"),
    ("create", "/frames/"),
    ("create", "/index/"),
    ("create", "/timeline/"),
    ("delete", ""),
    ("get", "/frames/"),
    ("get", "/index/"),
    ("get", "/packs/"),
    ("get", "/timeline/"),
    ("head", "/index/"),
    ("head", "/packs/"),
    ("head", "/timeline/"),
    ("list", ""),
    ("list", "/claims/"),
    ("put", "/frames/"),
    ("put", "/packs/"),
    ("put", "/renditions/"),
)
"""Requests that programs make, and the keys that they concern."""

SETTINGS = st.sampled_from((ALL, HALF))
CHUNK = st.sampled_from(sorted(CHUNKS))
PICTURE = st.sampled_from(PICTURES)
STORED = st.dictionaries(st.integers(0, 5), PICTURE, min_size=1, max_size=4).map(
    lambda frames: tuple(frames.items())
)
"""Sequences and pictures, as another program stores them."""
FRAMES = st.dictionaries(
    st.integers(0, 5),
    st.tuples(PICTURE, st.sampled_from((0, 0, 0, *METADATA))),
    min_size=1,
    max_size=4,
).map(lambda frames: tuple((sequence, *frame) for sequence, frame in frames.items()))
ON_CONFLICT: Final[tuple[OnConflict, ...]] = ("raise", "raise", "keep", "replace", "replace")

LAYOUTS: Final[tuple[Layout, ...]] = ("objects", "packs")
"""Layouts that store frames."""
LAYOUT = st.sampled_from(LAYOUTS)
"""Layout of a timeline that begins with written frames, and of one that is repacked."""
LAYOUTS_OF_CHUNKS: Final[tuple[Layout, ...]] = (*LAYOUTS, "video")
LAYOUT_OF_CHUNKS = st.sampled_from(LAYOUTS_OF_CHUNKS)
ASKED = st.sampled_from((None, None, None, None, *LAYOUTS))
"""Layout that a call states: mostly none, because another one is refused."""
ASKED_OF_CHUNKS = st.sampled_from((None, None, None, None, *LAYOUTS_OF_CHUNKS))


def _extracts(layouts: st.SearchStrategy[Layout | None]) -> st.SearchStrategy[Extract]:
    chunks = st.sampled_from(("a", "ab", "abc", "ba", "al", "lb")).map(tuple)
    return st.builds(Extract, chunks, SETTINGS, layouts)


def _writes(layouts: st.SearchStrategy[Layout | None]) -> st.SearchStrategy[Write]:
    return st.builds(
        Write,
        FRAMES,
        st.sampled_from((85, 85, 85, 60)),
        layouts,
        st.sampled_from(ON_CONFLICT),
    )


EXTRACTS, WRITES = _extracts(ASKED_OF_CHUNKS), _writes(ASKED)
APPENDS = st.builds(Append, CHUNK)
REBUILDS = st.builds(Rebuild, st.sampled_from((None, HALF, ALL)), ASKED_OF_CHUNKS)
REPACKS = st.builds(Repack, st.sampled_from((*LAYOUTS, *LAYOUTS, "video")))
ADDITIONS = st.just(AddRenditions())
CLEARS, DELETES, DELETED_LEASES = st.just(Clear()), st.just(Delete()), st.just(DeleteLeases())
REPAIRS, COLLECTIONS = st.just(Repair()), st.just(Collect())

OF_VIDEO = st.one_of(
    *(EXTRACTS, EXTRACTS, APPENDS, APPENDS, REBUILDS, REPACKS, REPACKS, ADDITIONS),
    *(CLEARS, DELETES, DELETED_LEASES, WRITES),
)
OF_WRITTEN = st.one_of(
    *(WRITES, WRITES, WRITES, WRITES, WRITES, REPACKS, REPACKS, ADDITIONS, REPAIRS),
    *(CLEARS, DELETES, DELETED_LEASES, EXTRACTS),
)
BEGINNINGS: Final[dict[str, st.SearchStrategy[Operation]]] = {
    "video": _extracts(LAYOUT_OF_CHUNKS),
    "written": _writes(LAYOUT),
}
OPERATIONS: Final[dict[str, st.SearchStrategy[Operation]]] = {
    "video": OF_VIDEO,
    "written": OF_WRITTEN,
}


@st.composite
def _request_faults(draw: st.DrawFn) -> RequestFaults:
    action, within = draw(st.sampled_from(REQUESTS))
    faults = sorted(possible_faults(action), key=lambda fault: fault.value)
    return RequestFaults(
        action,
        within,
        draw(st.integers(0, 3)),
        draw(st.sampled_from((1, 2, 12))),
        draw(st.sampled_from(faults)),
    )


def _disturbances(operations: st.SearchStrategy[Operation]) -> st.SearchStrategy[Disturbance]:
    return st.builds(
        lambda request, skip, operation: Disturbance(request[0], request[1], skip, operation),
        st.sampled_from(REQUESTS),
        st.integers(0, 5),
        operations,
    )


DEATHS = st.builds(
    lambda request, skip: Death(request[0], request[1], skip),
    st.sampled_from(REQUESTS),
    st.integers(0, 5),
)
FAULTS: st.SearchStrategy[Plan] = st.lists(
    st.one_of(_request_faults(), _request_faults(), DEATHS), min_size=1, max_size=3
).map(tuple)
QUIET: st.SearchStrategy[Plan] = st.just(())


def _plans(operations: st.SearchStrategy[Operation]) -> st.SearchStrategy[Plan]:
    disturbed = _disturbances(operations).map(lambda one: (one,))
    return st.one_of(QUIET, FAULTS, FAULTS, disturbed, disturbed)


CHANGES = st.one_of(
    *(
        st.tuples(st.just(timeline), operations, _plans(operations))
        for timeline, operations in OPERATIONS.items()
    ),
    # Programs that are delayed for longer than the grace period of gc are not supported.
    st.tuples(st.just("written"), COLLECTIONS, st.one_of(QUIET, FAULTS)),
)
REWRITES = st.tuples(
    st.builds(
        Write,
        FRAMES,
        st.sampled_from((85, 60)),
        st.none(),
        st.sampled_from(("replace", "replace", "replace", "keep")),
    ),
    _plans(st.one_of(WRITES, REPAIRS, OF_WRITTEN)),
)
# Most timelines have few frames, and a read of one that is not there is seldom of use.
SEQUENCE = st.one_of(st.integers(0, 3), st.integers(0, 21))
READS = st.one_of(
    st.builds(ReadOne, st.sampled_from(("frame", "jpeg")), SEQUENCE),
    st.builds(ReadAt, st.integers(0, 45)),
    st.builds(
        ReadMany,
        st.sampled_from(("frames", "sequences", "batch", "jpegs")),
        st.one_of(st.integers(0, 1), st.integers(0, 8)),
        st.one_of(st.integers(1, 2), st.integers(1, 6)),
        st.integers(1, 3),
    ),
    st.builds(Ask, st.sampled_from(("exists", "complete", "info", "index", "len"))),
)
READINGS = st.one_of(
    *(
        st.tuples(st.just(timeline), READS, _plans(operations))
        for timeline, operations in OPERATIONS.items()
    )
)
CONTRADICTIONS = st.tuples(READS, _plans(OF_VIDEO))
"""Reads of a timeline with a chunk that contradicts its tables, and what disturbs its append."""
