/** The curve of visual change over the time axis. It comes once the first frame is on screen. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatTick } from "../pure/format";
import { chunkJoins, type Overview, runsOf, timeTicks } from "../pure/track";

const HEIGHT = 58;
const AXIS_HEIGHT = 18;
const TICK_PIXELS = 90;
/** A timeline in which nothing changes shows no mountains. */
const LEAST_TOP = 0.2;

/** Draw it; the result takes it away again. */
export function drawCurve(element: HTMLElement, overview: Overview, width: number): () => void {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim();
  const { step, ticks } = timeTicks(overview, width, TICK_PIXELS);
  const top = Math.max(LEAST_TOP, ...overview.change.map((change) => change ?? 0));
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
        drawClear: [(drawn: uPlot) => drawRuns(drawn, overview, color("--gap"))],
        draw: [(drawn: uPlot) => drawJoins(drawn, overview, color("--join"))],
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

function drawRuns(plot: uPlot, overview: Overview, fill: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = fill;
  for (const { start, stop } of runsOf(overview, (bucket) => overview.gap[bucket] === true)) {
    const left = plot.valToPos(start, "x", true);
    ctx.fillRect(left, bbox.top, Math.max(2, plot.valToPos(stop, "x", true) - left), bbox.height);
  }
  ctx.restore();
}

function drawJoins(plot: uPlot, overview: Overview, stroke: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = stroke;
  ctx.setLineDash([4, 3]);
  ctx.beginPath();
  for (const join of chunkJoins(overview)) {
    const x = Math.round(plot.valToPos(join, "x", true)) + 0.5;
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
  }
  ctx.stroke();
  ctx.restore();
}
