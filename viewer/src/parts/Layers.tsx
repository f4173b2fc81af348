/** What is drawn, topmost first, and the tree of all that could be. */
import type { StageDetail } from "../api/types";
import type { Opened } from "../data/opened";
import { BLENDS, type Blend, type Layer, layerKey, type StageRef } from "../pure/address";
import { formatCount } from "../pure/format";
import { layers, overlaysHidden, place, toggleLayer } from "../state/app";
import { setLayers } from "../state/view";
import { colorOf } from "./colors";

export function Layers({ timeline }: { timeline: Opened }) {
  const jobs = Object.entries(timeline.detail.value?.jobs ?? {});
  const shown = [...layers.value].reverse();
  return (
    <>
      <section>
        <h2>
          Shown {overlaysHidden.value && <span class="badge">hidden</span>}
          {shown.length > 0 && (
            <button type="button" class="quiet" onClick={() => setLayers([])}>
              Hide all
            </button>
          )}
        </h2>
        {shown.length === 0 && <p class="hint">Choose overlays below.</p>}
        <ol class="shown">
          {shown.map((layer, index) => (
            <LayerRow
              key={layerKey(layer)}
              timeline={timeline}
              layer={layer}
              isTop={index === 0}
              isBottom={index === shown.length - 1}
            />
          ))}
        </ol>
      </section>
      <section>
        <h2>Overlays</h2>
        {jobs.length === 0 && (
          <p class="hint">No job has drawn on these frames. Jobs save overlays with</p>
        )}
        {jobs.length === 0 && <pre>timeline.overlays(job_id=…, stage=…).save(…)</pre>}
        <ul class="tree">
          {jobs.map(([job, stages]) => (
            <li key={job}>
              <details open>
                <summary>{job}</summary>
                <ul>
                  {Object.entries(stages).map(([stage, summary]) => (
                    <StageRow
                      key={stage}
                      timeline={timeline}
                      stage={{ job, stage }}
                      summary={summary}
                    />
                  ))}
                </ul>
              </details>
            </li>
          ))}
        </ul>
      </section>
    </>
  );
}

interface LayerRowProps {
  timeline: Opened;
  layer: Layer;
  isTop: boolean;
  isBottom: boolean;
}

function LayerRow({ timeline, layer, isTop, isBottom }: LayerRowProps) {
  const here = drawnHere(timeline, layer);
  const name = layerKey(layer);
  return (
    <li class="layer" data-drawn={here?.names.includes(layer.name) ?? false}>
      <div class="layer-name">
        <span class="swatch" data-color={colorOf(timeline, layer)} />
        <span title={name}>
          {layer.name}{" "}
          <small>
            {layer.job}/{layer.stage}
          </small>
        </span>
        {here?.stale === true && <Stale />}
        <button
          type="button"
          class="quiet"
          aria-label={`Move ${name} up`}
          disabled={isTop}
          onClick={() => move(layer, 1)}
        >
          ↑
        </button>
        <button
          type="button"
          class="quiet"
          aria-label={`Move ${name} down`}
          disabled={isBottom}
          onClick={() => move(layer, -1)}
        >
          ↓
        </button>
        <button
          type="button"
          class="quiet"
          aria-label={`Hide ${name}`}
          onClick={() => toggleLayer(layer, layer.name)}
        >
          ✕
        </button>
      </div>
      <div class="layer-look">
        <input
          type="range"
          min={0}
          max={100}
          value={Math.round(layer.opacity * 100)}
          aria-label={`Opacity of ${name}`}
          onInput={(event) => change(layer, { opacity: event.currentTarget.valueAsNumber / 100 })}
        />
        <output>{Math.round(layer.opacity * 100)} %</output>
        <select
          aria-label={`How ${name} is laid over the frame`}
          value={layer.blend ?? ""}
          onChange={(event) =>
            change(layer, { blend: (event.currentTarget.value || null) as Blend | null })
          }
        >
          <option value="">auto</option>
          {BLENDS.map((blend) => (
            <option key={blend} value={blend}>
              {blend}
            </option>
          ))}
        </select>
      </div>
    </li>
  );
}

interface StageRowProps {
  timeline: Opened;
  stage: StageRef;
  summary: StageDetail;
}

function StageRow({ timeline, stage, summary }: StageRowProps) {
  const here = drawnHere(timeline, stage);
  return (
    <li>
      <div class="stage-name">
        <span class="swatch" data-color={colorOf(timeline, stage)} />
        <span>{stage.stage}</span>
        {summary.stale_count > 0 && <Stale count={summary.stale_count} />}
        <span class="number">{formatCount(summary.frame_count)}</span>
      </div>
      <ul>
        {Object.entries(summary.names).map(([name, count]) => {
          const key = layerKey({ ...stage, name });
          return (
            <li key={name}>
              <label class="name-row" data-drawn={here === null || here.names.includes(name)}>
                <input
                  type="checkbox"
                  checked={layers.value.some((layer) => layerKey(layer) === key)}
                  onChange={() => toggleLayer(stage, name)}
                />
                <span>{name}</span>
                <span class="number">{formatCount(count)}</span>
              </label>
            </li>
          );
        })}
      </ul>
    </li>
  );
}

function Stale({ count }: { count?: number }) {
  return (
    <span class="badge stale" title="Drawn for other pictures than are cached now">
      {count === undefined ? "stale" : `${formatCount(count)} stale`}
    </span>
  );
}

function drawnHere(timeline: Opened, stage: StageRef) {
  const sequence = place.value?.sequence ?? null;
  return sequence === null ? null : timeline.drawn(stage, sequence);
}

function change(layer: Layer, difference: Partial<Layer>): void {
  const key = layerKey(layer);
  setLayers(
    layers.peek().map((each) => (layerKey(each) === key ? { ...each, ...difference } : each)),
  );
}

/** Towards the top (1) or the bottom (-1). */
function move(layer: Layer, direction: -1 | 1): void {
  const list = [...layers.peek()];
  const from = list.findIndex((each) => layerKey(each) === layerKey(layer));
  const [taken] = list.splice(from, 1);
  if (taken !== undefined) list.splice(from + direction, 0, taken);
  setLayers(list);
}
