/** The whole timeline: visual change, chunk joins, gaps, what jobs drew, and where the frame lies. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Opened } from "../data/opened";
import type { StageRef } from "../pure/address";
import { formatStage } from "../pure/address";
import { formatTime, spokenFrame } from "../pure/format";
import { clamp, markRow, positionAtX, runsOf, xOf } from "../pure/track";
import { moveTo, place, position } from "../state/app";
import { stagesOf } from "../state/comparing";
import { playing } from "../state/player";
import { theme } from "../state/theme";
import { cssColorOf } from "./colors";
import { useHandOver } from "./handover";
import { useWidth } from "./width";

const TILE_HEIGHT = 90;
const ROW_HEIGHT = 8;

export function Scrubber({ timeline }: { timeline: Opened }) {
  const area = useRef<HTMLDivElement>(null);
  const chart = useRef<HTMLDivElement>(null);
  const width = useWidth(area);
  const hovered = useSignal<number | null>(null);
  const dragging = useRef(false);

  useSignalEffect(() => {
    const overview = timeline.overview.value;
    const pixels = width.value;
    theme.value;
    if (overview === null || chart.current === null || pixels < 1) return;
    let destroy: (() => void) | null = null;
    let gone = false;
    const element = chart.current;
    import("./curve").then(({ drawCurve }) => {
      if (!gone) destroy = drawCurve(element, overview, pixels);
    });
    return () => {
      gone = true;
      destroy?.();
    };
  });
  const at = (event: PointerEvent): number => {
    const box = area.current?.getBoundingClientRect();
    return positionAtX(event.clientX - (box?.left ?? 0), timeline.count, box?.width ?? 1);
  };
  const overview = timeline.overview.value;
  const here = place.value;
  const left = xOf(position.value + 0.5, timeline.count, width.value);
  const stages = stagesOf(timeline);
  return (
    <div class="scrubber">
      <div class="labels" aria-hidden="true">
        <span class="chart-label">change</span>
        {stages.map((stage) => (
          <span key={formatStage(stage)} class="row-label" title={formatStage(stage)}>
            {stage.job}/{stage.stage}
          </span>
        ))}
      </div>
      <div
        ref={area}
        class="area"
        role="slider"
        tabIndex={0}
        aria-label="Position on the timeline"
        aria-valuemin={0}
        aria-valuemax={Math.max(0, timeline.count - 1)}
        aria-valuenow={position.value}
        aria-valuetext={here?.sequence == null ? "" : spokenFrame(here.sequence, here.timestamp)}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          dragging.current = true;
          playing.value = false;
          moveTo(at(event));
        }}
        onPointerMove={(event) => {
          hovered.value = at(event);
          if (dragging.current) moveTo(at(event));
        }}
        onPointerUp={() => {
          dragging.current = false;
        }}
        onPointerCancel={() => {
          dragging.current = false;
        }}
        onPointerLeave={() => {
          hovered.value = null;
        }}
      >
        <div ref={chart} class="chart" />
        <Loaded timeline={timeline} width={width.value} />
        {stages.map((stage) => (
          <Marks key={formatStage(stage)} timeline={timeline} stage={stage} width={width.value} />
        ))}
        {overview !== null &&
          runsOf(overview, (bucket) => (overview.undecodable[bucket] ?? 0) > 0).map((run) => (
            <i
              key={run.start}
              class="undecodable"
              title="Undecodable frames"
              style={span(run.start, run.stop, timeline.count, width.value)}
            />
          ))}
        <div class="playhead" style={{ transform: `translateX(${left}px)` }} />
        {hovered.value !== null && (
          <Preview timeline={timeline} position={hovered.value} width={width.value} />
        )}
      </div>
    </div>
  );
}

interface MarksProps {
  timeline: Opened;
  stage: StageRef;
  width: number;
}

function Marks({ timeline, stage, width }: MarksProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const given = useSignal(width);
  given.value = width;
  useSignalEffect(() => {
    const overview = timeline.overview.value;
    if (overview !== null) void timeline.loadColumns(stage);
    const columns = timeline.columns.value.get(formatStage(stage));
    const element = canvas.current;
    if (overview === null || columns === undefined || element === null) return;
    const scale = devicePixelRatio;
    element.width = Math.max(1, Math.floor(given.value * scale));
    element.height = ROW_HEIGHT * scale;
    const context = element.getContext("2d");
    if (context === null) return;
    const color = cssColorOf(timeline, stage);
    for (const mark of markRow(overview, columns, element.width)) {
      context.fillStyle = color;
      context.fillRect(mark.left, 0, mark.right - mark.left, element.height);
      if (!mark.stale) continue;
      context.fillStyle = getComputedStyle(element).getPropertyValue("--warn");
      context.fillRect(mark.left, element.height / 2, mark.right - mark.left, element.height / 2);
    }
  });
  return <canvas ref={canvas} class="marks" />;
}

/** Where pictures are in memory. */
function Loaded({ timeline, width }: { timeline: Opened; width: number }) {
  timeline.loadedCount.value;
  position.value;
  const least = 2;
  const count = timeline.count;
  const pixels = new Set(
    timeline.loadedPositions().map((each) => Math.floor(xOf(each, count, width) / least)),
  );
  return (
    <div class="loaded">
      {[...pixels].map((pixel) => (
        <i
          key={pixel}
          style={{ left: `${pixel * least}px`, width: `${Math.max(least, width / count)}px` }}
        />
      ))}
    </div>
  );
}

interface PreviewProps {
  timeline: Opened;
  position: number;
  width: number;
}

function Preview({ timeline, position: at, width }: PreviewProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const handOver = useHandOver();
  const given = useSignal(at);
  given.value = at;
  useSignalEffect(() => {
    timeline.arrivals.value;
    const tile = timeline.tile(given.value, handOver());
    const context = canvas.current?.getContext("2d");
    if (canvas.current !== null && context != null && tile !== null) {
      canvas.current.width = tile.width;
      canvas.current.height = tile.height;
      const { sheet, x, y, width: w, height: h } = tile;
      context.drawImage(sheet, x, y, w, h, 0, 0, w, h);
    }
  });
  const { sequence, timestamp, exact } = timeline.place(at);
  const half = 84;
  const x = clamp(xOf(at + 0.5, timeline.count, width), half, Math.max(half, width - half));
  return (
    <div
      class="preview"
      style={{ transform: `translateX(${x}px)`, "--height": `${TILE_HEIGHT}px` }}
    >
      {timeline.sprites.value !== null && <canvas ref={canvas} />}
      <span>
        {exact ? "" : "≈ "}
        {sequence ?? "–"} · {timestamp === null ? "–" : formatTime(timestamp)}
      </span>
    </div>
  );
}

function span(start: number, stop: number, count: number, width: number) {
  const left = xOf(start, count, width);
  return { left: `${left}px`, width: `${Math.max(2, xOf(stop, count, width) - left)}px` };
}
