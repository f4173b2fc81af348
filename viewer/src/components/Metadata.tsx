import { formatBytes, formatTime, timeDecimals } from "../lib/format";
import type { TimelineModel } from "../model/timelineModel";
import { isMetadataShown, position } from "../store/app";

export function Metadata({ timeline }: { timeline: TimelineModel }) {
  timeline.dataRevision.value;
  const row = timeline.row(position.value);
  const detail = timeline.detail.value;
  if (row === undefined || detail === null) return null;
  const chunk = detail.chunks.find((each) => each.chunk_id === row.chunk_id);
  const rows: readonly (readonly [string, string])[] = [
    ["sequence", `${row.sequence}`],
    ["position", `${row.position}`],
    [
      "timestamp",
      `${row.timestamp} s (${formatTime(row.timestamp, timeDecimals(row.duration_seconds))})`,
    ],
    ["duration", `${row.duration_seconds} s`],
    ["chunk", `${row.chunk_id}${chunk === undefined ? "" : `, ${chunk.name}`}`],
    [
      "picture",
      `${row.width} × ${row.height}, ${row.size_bytes === null ? "decoded from the chunk when it is shown" : formatBytes(row.size_bytes)}`,
    ],
    ["perceptual hash", row.perceptual_hash || "–"],
    ["status", row.reason === "" ? row.status : `${row.status}: ${row.reason}`],
    ["sampling", detail.sampling ?? "–"],
    ["quality", `${detail.quality ?? "–"}`],
    ["chroma", detail.chroma ?? "–"],
    ["renditions", detail.renditions.join(", ") || "–"],
    ["maximum side", detail.max_side === null ? "–" : `${detail.max_side} pixels`],
    ["layout", detail.layout ?? "–"],
    ["epoch", `${detail.epoch ?? "–"}`],
  ];
  return (
    <section class="metadata" aria-label="Metadata of the frame">
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <button
        type="button"
        class="quiet"
        aria-label="Close metadata"
        onClick={() => {
          isMetadataShown.value = false;
        }}
      >
        ✕
      </button>
    </section>
  );
}
