"""A timeline whose current manifest is damaged: report it, and create a new manifest.

It is not known what the lost version changed. It may have started an epoch, or named chunks whose
index parts a program is committing right now. So the repair starts a new epoch, later than any that
a lost version started, with the chunks of the last intact version; nothing that was or will be
committed under a lost version belongs to it. The rows of the intact version's index parts are still
valid for the frames of those chunks: they are committed into the new epoch before its manifest is.
So the timeline is complete again at once, and nothing is decoded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from framecache import _ingest as ingest
from framecache._core import keys
from framecache._core.chunk_entry import ChunkEntry
from framecache._core.manifest import Manifest
from framecache._index import (
    CorruptManifest,
    Index,
    commit_part,
    compact,
    find_corrupt_manifest,
    load_snapshot_at,
    try_commit_manifest,
)
from framecache._maintain.verify.index_files import IndexFiles, read_index_files
from framecache._maintain.verify.repair import NotRepairable, not_repaired
from framecache._maintain.verify.report import Finding, FindingCollector
from framecache._version import __version__
from framecache.errors import UnreadableChunk
from framecache.store import Store

_ENCODER_VERSION_FIELDS: Final = {"framecache", "ffmpeg", "jpeg_encoder"}
"""Fields of an index part that describe the programs that made its frames."""

_DELETE_REMEDY: Final = "delete the timeline, and extract it again"


def check_manifest(
    store: Store, timeline_id: str, findings: FindingCollector, *, repair: bool, workers: int
) -> bool:
    """Report a damaged current manifest; return True if there is an intact one now."""
    lost = find_corrupt_manifest(store, timeline_id)
    if lost is None:
        return True
    finding = Finding("corrupt", lost.key, None, None, _describe_damage(lost))
    if not repair:
        findings.add(finding)
        return False
    try:
        files, manifest = _recreate_manifest(store, lost)
    except NotRepairable as reason:
        findings.add(not_repaired(finding, str(reason)))
        return False
    findings.add(replace(finding, repaired=True))
    if manifest is not None:
        for other in _reextract_chunks(store, files, manifest, workers=workers):
            findings.add(other)
    return True


def _describe_damage(lost: CorruptManifest) -> str:
    if lost.last_intact is None:
        return "this manifest is damaged, and no intact version before it is left"
    return (
        f"this manifest is damaged, and the last intact one is version {lost.last_intact.version}: "
        "if chunks were appended or settings changed since, repeat that after the repair"
    )


def _recreate_manifest(store: Store, lost: CorruptManifest) -> tuple[IndexFiles, Manifest | None]:
    """Create a manifest with the chunks of the last intact version in a new epoch.

    All that is cached is committed into that epoch.

    Returns:
        The index of that version, and the new manifest; None when another program was first.
    """
    before = lost.last_intact
    if before is None:
        raise NotRepairable(_DELETE_REMEDY)
    if not before.chunks:
        raise NotRepairable(
            "it is not known which written frames it names: remove all versions after "
            f"{before.version} to go back to that one, or delete the timeline; then have "
            "missing frames written again"
        )
    files = read_index_files(store, before)
    following = replace(before.after_corrupt(lost.version), begun=bool(files.rows))
    for segment in before.segments:
        if (rows := files.rows.get(segment.part)) is not None:
            about = _provenance(segment.chunk, rows)
            commit_part(store, following, segment.part, rows, provenance=about)
    if not try_commit_manifest(store, following):
        # The name of this epoch is random, so no other program knows it.
        epoch = keys.epoch_prefix(following.timeline_id, following.epoch)
        store.delete([blob.key for blob in store.list(epoch)])
        return files, None
    if len(files.rows) == len(before.parts) > 1:
        following = compact(store, following, load_snapshot_at(store, following))
    return files, following


def _provenance(entry: ChunkEntry, rows: Index) -> Mapping[str, Any]:
    """Return the provenance of the part that these rows come from, as far as it is known."""
    return {
        "framecache": __version__,
        "chunk_url": entry.url,
        "chunk_etag": entry.etag,
        "chunk_size_bytes": entry.size_bytes,
    } | {name: value for name, value in rows.provenance.items() if name in _ENCODER_VERSION_FIELDS}


def _reextract_chunks(
    store: Store, files: IndexFiles, manifest: Manifest, *, workers: int
) -> Iterator[Finding]:
    """Extract the segments that were cached and whose rows no intact file holds.

    A part that is missing, rather than damaged, is skipped: a lost version may have cleared it.
    """
    for segment in manifest.segments:
        finding = files.broken_parts.get(segment.part)
        if finding is None or finding.kind == "missing" or segment.part in files.rows:
            continue
        try:
            ingest.extract_segments(store, manifest, [segment], workers=workers)
        except UnreadableChunk as error:
            yield not_repaired(finding, str(error))
        else:
            yield replace(finding, repaired=True)
