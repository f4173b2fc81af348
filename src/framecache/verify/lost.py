"""A timeline whose current description is damaged: saying so, and describing it anew.

What the lost version had changed is not known. It may have begun an epoch, or have named chunks
of which a program commits index parts at this moment. So what follows it is a new epoch, later than
any that a lost version began, of the chunks that the last sound version names; nothing that was or
will be committed under a lost version counts in it. The rows of that version's index parts are
still true of those chunks' frames: they are committed into the new epoch before it is described, so
that the timeline is whole again at once, and nothing is decoded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from framecache import ingest, keys
from framecache._version import __version__
from framecache.errors import BadChunk
from framecache.index import (
    Index,
    LostDescription,
    commit_part,
    compact,
    find_lost,
    follow,
)
from framecache.manifest import ChunkEntry, Description
from framecache.store import Store
from framecache.verify.index_files import IndexFiles, read_index_files
from framecache.verify.repair import NotRepairable, not_repaired
from framecache.verify.report import Finding, Findings

_MADE_BY: Final = {"framecache", "ffmpeg", "jpeg_encoder"}
"""What an index part tells of the programs that made its frames."""

_DELETE: Final = "delete the timeline, and extract it again"


def check_lost(
    store: Store, timeline_id: str, findings: Findings, *, repair: bool, workers: int
) -> bool:
    """Tell of a current description that is damaged; returns whether there is a sound one now."""
    lost = find_lost(store, timeline_id)
    if lost is None:
        return True
    finding = Finding("corrupt", lost.key, None, None, _in_words(lost))
    if not repair:
        findings.add(finding)
        return False
    try:
        files, description = _described_anew(store, lost)
    except NotRepairable as reason:
        findings.add(not_repaired(finding, str(reason)))
        return False
    findings.add(replace(finding, repaired=True))
    if description is not None:
        for other in _extracted_again(store, files, description, workers=workers):
            findings.add(other)
    return True


def _in_words(lost: LostDescription) -> str:
    if lost.before is None:
        return "this description is damaged, and no sound version before it is left"
    return (
        f"this description is damaged, and the last sound one is version {lost.before.version}: if "
        f"chunks were appended or settings changed since, do that again once it is repaired"
    )


def _described_anew(store: Store, lost: LostDescription) -> tuple[IndexFiles, Description | None]:
    """Describe the chunks of the last sound version in a new epoch, with all that is cached.

    Returns the index of that version, and the new one; None when another program was first.
    """
    before = lost.before
    if before is None:
        raise NotRepairable(_DELETE)
    if not before.chunks:
        raise NotRepairable(
            f"which written frames it names is not known: remove all versions after "
            f"{before.version} to go back to that one, or delete the timeline; then have what is "
            f"missing written again"
        )
    files = read_index_files(store, before)
    following = replace(before.after_lost(lost.version), begun=bool(files.rows))
    for entry in before.chunks:
        if (rows := files.rows.get(entry.part)) is not None:
            commit_part(store, following, entry.part, rows, about=_about(entry, rows))
    if not follow(store, following):
        # Nobody else knows of this epoch, whose name is random.
        epoch = keys.epoch_prefix(following.timeline_id, following.epoch)
        store.delete([blob.key for blob in store.list(epoch)])
        return files, None
    if len(files.rows) == len(before.chunks) > 1:
        following = compact(store, following, Index.merged([*files.rows.values()]))
    return files, following


def _about(entry: ChunkEntry, rows: Index) -> Mapping[str, Any]:
    """What the part told from which these rows are, as far as it is known."""
    return {
        "framecache": __version__,
        "chunk_url": entry.url,
        "chunk_etag": entry.etag,
        "chunk_size_bytes": entry.size_bytes,
    } | {name: value for name, value in rows.about.items() if name in _MADE_BY}


def _extracted_again(
    store: Store, files: IndexFiles, description: Description, *, workers: int
) -> Iterator[Finding]:
    """Extract the chunks that were cached, and whose rows no sound file told.

    Where those are gone, and not damaged, a lost version may have cleared them.
    """
    for entry in description.chunks:
        finding = files.broken_parts.get(entry.part)
        if finding is None or finding.kind == "missing" or entry.part in files.rows:
            continue
        try:
            ingest.fill(store, description, [entry], workers=workers)
        except BadChunk as error:
            yield not_repaired(finding, str(error))
        else:
            yield replace(finding, repaired=True)
