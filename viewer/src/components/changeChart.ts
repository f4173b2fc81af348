/** Chart of visual change over time. It is loaded after the first frame, because uPlot is large. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatTick } from "../lib/format";
import { bucketRanges, chunkBoundaries, type Overview, timeTicks } from "../lib/timelineAxis";

const HEIGHT = 58;
const AXIS_HEIGHT = 18;
const MIN_TICK_PIXELS = 90;
/** Minimum top of the scale, so that a video with little change has a flat curve. */
const MIN_SCALE = 0.2;

/** Draw the chart; call the returned function to remove it. */
export function drawChangeChart(
  element: HTMLElement,
  overview: Overview,
  width: number,
): () => void {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const { step, ticks } = timeTicks(overview, width, MIN_TICK_PIXELS);
  const top = Math.max(MIN_SCALE, ...overview.change.map((change) => change ?? 0));
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  const plot = new uPlot(
    {
      width,
      height: HEIGHT,
      padding: [2, 0, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: [0, overview.count] }, y: { range: [0, top] } },
      axes: [
        {
          size: AXIS_HEIGHT,
          gap: 2,
          align: 1,
          stroke: color("--muted"),
          font: "11px system-ui, sans-serif",
          grid: { stroke: color("--line"), width: 1 },
          ticks: { show: false },
          splits: () => ticks.map(({ position }) => position),
          values: () => ticks.map(({ seconds }) => formatTick(seconds, step)),
        },
        { show: false },
      ],
      series: [
        {},
        {
          stroke: color("--accent"),
          fill: color("--accent-faint"),
          width: 1,
          points: { show: false },
          ...(stepped === undefined ? {} : { paths: stepped }),
        },
      ],
      hooks: {
        drawClear: [(plot: uPlot) => drawGaps(plot, overview, color("--gap"))],
        draw: [(plot: uPlot) => drawChunkBoundaries(plot, overview, color("--join"))],
      },
    },
    [
      overview.change.map((_, bucket) => bucket * overview.bucket_size).concat(overview.count),
      [...overview.change, overview.change.at(-1) ?? null],
    ],
    element,
  );
  return () => plot.destroy();
}

function drawGaps(plot: uPlot, overview: Overview, fill: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = fill;
  for (const { start, stop } of bucketRanges(overview, (bucket) => overview.gap[bucket] === true)) {
    const left = plot.valToPos(start, "x", true);
    ctx.fillRect(left, bbox.top, Math.max(2, plot.valToPos(stop, "x", true) - left), bbox.height);
  }
  ctx.restore();
}

function drawChunkBoundaries(plot: uPlot, overview: Overview, stroke: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = stroke;
  ctx.setLineDash([4, 3]);
  ctx.beginPath();
  for (const boundary of chunkBoundaries(overview)) {
    const x = Math.round(plot.valToPos(boundary, "x", true)) + 0.5;
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}
