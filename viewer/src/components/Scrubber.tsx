/** Slider over the whole timeline, with visual change, chunk boundaries, gaps and overlays. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { formatTime, frameDescription } from "../lib/format";
import { bucketRanges, clamp, overlayMarks, positionToX, xToPosition } from "../lib/timelineAxis";
import type { StageRef } from "../lib/viewUrl";
import { formatStage } from "../lib/viewUrl";
import type { TimelineModel } from "../model/timelineModel";
import { currentFrame, position, seekToPosition } from "../store/app";
import { listStages } from "../store/comparison";
import { isPlaying } from "../store/player";
import { theme } from "../store/theme";
import { useRedrawSignal, useWidth } from "./hooks";
import { stageColor } from "./stageColors";

const TILE_HEIGHT = 90;
const ROW_HEIGHT = 8;

export function Scrubber({ timeline }: { timeline: TimelineModel }) {
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
    let isDisposed = false;
    const element = chart.current;
    import("./changeChart").then(({ drawChangeChart }) => {
      if (!isDisposed) destroy = drawChangeChart(element, overview, pixels);
    });
    return () => {
      isDisposed = true;
      destroy?.();
    };
  });
  const positionUnder = (event: PointerEvent): number => {
    const box = area.current?.getBoundingClientRect();
    return xToPosition(event.clientX - (box?.left ?? 0), timeline.count, box?.width ?? 1);
  };
  const overview = timeline.overview.value;
  const frame = currentFrame.value;
  const left = positionToX(position.value + 0.5, timeline.count, width.value);
  const stages = listStages(timeline);
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
        aria-valuetext={
          frame?.sequence == null ? "" : frameDescription(frame.sequence, frame.timestamp)
        }
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          dragging.current = true;
          isPlaying.value = false;
          seekToPosition(positionUnder(event));
        }}
        onPointerMove={(event) => {
          hovered.value = positionUnder(event);
          if (dragging.current) seekToPosition(positionUnder(event));
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
        <LoadedFrames timeline={timeline} width={width.value} />
        {stages.map((stage) => (
          <OverlayMarks
            key={formatStage(stage)}
            timeline={timeline}
            stage={stage}
            width={width.value}
          />
        ))}
        {overview !== null &&
          bucketRanges(overview, (bucket) => (overview.undecodable[bucket] ?? 0) > 0).map(
            (range) => (
              <i
                key={range.start}
                class="undecodable"
                title="Undecodable frames"
                style={rangeStyle(range.start, range.stop, timeline.count, width.value)}
              />
            ),
          )}
        <div class="playhead" style={{ transform: `translateX(${left}px)` }} />
        {hovered.value !== null && (
          <HoverPreview timeline={timeline} position={hovered.value} width={width.value} />
        )}
      </div>
    </div>
  );
}

interface OverlayMarksProps {
  timeline: TimelineModel;
  stage: StageRef;
  width: number;
}

function OverlayMarks({ timeline, stage, width }: OverlayMarksProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const currentWidth = useSignal(width);
  currentWidth.value = width;
  useSignalEffect(() => {
    const overview = timeline.overview.value;
    if (overview !== null) void timeline.loadOverlayIndex(stage);
    const columns = timeline.overlayIndexes.value.get(formatStage(stage));
    const element = canvas.current;
    if (overview === null || columns === undefined || element === null) return;
    const scale = devicePixelRatio;
    element.width = Math.max(1, Math.floor(currentWidth.value * scale));
    element.height = ROW_HEIGHT * scale;
    const context = element.getContext("2d");
    if (context === null) return;
    const color = stageColor(timeline, stage);
    for (const mark of overlayMarks(overview, columns, element.width)) {
      context.fillStyle = color;
      context.fillRect(mark.left, 0, mark.right - mark.left, element.height);
      if (!mark.stale) continue;
      context.fillStyle = getComputedStyle(element).getPropertyValue("--warn");
      context.fillRect(mark.left, element.height / 2, mark.right - mark.left, element.height / 2);
    }
  });
  return <canvas ref={canvas} class="marks" />;
}

/** Marks of the frames that are in memory. */
function LoadedFrames({ timeline, width }: { timeline: TimelineModel; width: number }) {
  timeline.loadedCount.value;
  position.value;
  const minPixels = 2;
  const count = timeline.count;
  const pixels = new Set(
    timeline
      .loadedPositions()
      .map((each) => Math.floor(positionToX(each, count, width) / minPixels)),
  );
  return (
    <div class="loaded">
      {[...pixels].map((pixel) => (
        <i
          key={pixel}
          style={{
            left: `${pixel * minPixels}px`,
            width: `${Math.max(minPixels, width / count)}px`,
          }}
        />
      ))}
    </div>
  );
}

interface HoverPreviewProps {
  timeline: TimelineModel;
  position: number;
  width: number;
}

function HoverPreview({ timeline, position: hoveredPosition, width }: HoverPreviewProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const redrawSignal = useRedrawSignal();
  const currentPosition = useSignal(hoveredPosition);
  currentPosition.value = hoveredPosition;
  useSignalEffect(() => {
    timeline.dataRevision.value;
    const tile = timeline.spriteTile(currentPosition.value, redrawSignal());
    const context = canvas.current?.getContext("2d");
    if (canvas.current !== null && context != null && tile !== null) {
      canvas.current.width = tile.width;
      canvas.current.height = tile.height;
      const { sheet, x, y, width: w, height: h } = tile;
      context.drawImage(sheet, x, y, w, h, 0, 0, w, h);
    }
  });
  const { sequence, timestamp, exact } = timeline.frameInfo(hoveredPosition);
  const halfWidth = 84;
  const x = clamp(
    positionToX(hoveredPosition + 0.5, timeline.count, width),
    halfWidth,
    Math.max(halfWidth, width - halfWidth),
  );
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

function rangeStyle(start: number, stop: number, count: number, width: number) {
  const left = positionToX(start, count, width);
  return { left: `${left}px`, width: `${Math.max(2, positionToX(stop, count, width) - left)}px` };
}
