/** Visible layers, topmost first, and the tree of all overlays. */

import { useRef } from "preact/hooks";
import type { StageDetail } from "../api/types";
import { formatCount } from "../lib/format";
import { BLEND_MODES, type BlendMode, type Layer, layerKey, type StageRef } from "../lib/viewUrl";
import { type OverlayPicture, overlayColor } from "../model/pictureCache";
import type { TimelineModel } from "../model/timelineModel";
import {
  areOverlaysHidden,
  currentFrame,
  displayedComposite,
  toggleLayer,
  visibleLayers,
} from "../store/app";
import { isPlaying } from "../store/player";
import { setLayers } from "../store/view";
import { stageColorIndex } from "./stageColors";

/** Minimum interval during playback, because reading pixels of every frame would slow it down. */
const SWATCH_UPDATE_MILLISECONDS = 500;

export function LayerPanel({ timeline }: { timeline: TimelineModel }) {
  const jobs = Object.entries(timeline.detail.value?.jobs ?? {});
  const layersFromTop = [...visibleLayers.value].reverse();
  return (
    <>
      <section>
        <h2>
          Shown {areOverlaysHidden.value && <span class="badge">hidden</span>}
          {layersFromTop.length > 0 && (
            <button type="button" class="quiet" onClick={() => setLayers([])}>
              Hide all
            </button>
          )}
        </h2>
        {layersFromTop.length === 0 && <p class="hint">Choose overlays below.</p>}
        <ol class="shown">
          {layersFromTop.map((layer, index) => (
            <LayerRow
              key={layerKey(layer)}
              timeline={timeline}
              layer={layer}
              isTop={index === 0}
              isBottom={index === layersFromTop.length - 1}
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
  timeline: TimelineModel;
  layer: Layer;
  isTop: boolean;
  isBottom: boolean;
}

function LayerRow({ timeline, layer, isTop, isBottom }: LayerRowProps) {
  const overlays = currentOverlays(timeline, layer);
  const name = layerKey(layer);
  return (
    <li class="layer" data-drawn={overlays?.names.includes(layer.name) ?? false}>
      <div class="layer-name">
        <Swatch layer={layer} />
        <span title={name}>
          {layer.name}{" "}
          <small>
            {layer.job}/{layer.stage}
          </small>
        </span>
        {overlays?.stale === true && <StaleBadge />}
        <ScaledBadge layer={layer} />
        <button
          type="button"
          class="quiet"
          aria-label={`Move ${name} up`}
          disabled={isTop}
          onClick={() => moveLayer(layer, 1)}
        >
          ↑
        </button>
        <button
          type="button"
          class="quiet"
          aria-label={`Move ${name} down`}
          disabled={isBottom}
          onClick={() => moveLayer(layer, -1)}
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
          onInput={(event) =>
            updateLayer(layer, { opacity: event.currentTarget.valueAsNumber / 100 })
          }
        />
        <output>{Math.round(layer.opacity * 100)} %</output>
        <select
          aria-label={`How ${name} is laid over the frame`}
          value={layer.blend ?? ""}
          onChange={(event) =>
            updateLayer(layer, { blend: (event.currentTarget.value || null) as BlendMode | null })
          }
        >
          <option value="">auto</option>
          {BLEND_MODES.map((blend) => (
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
  timeline: TimelineModel;
  stage: StageRef;
  summary: StageDetail;
}

function StageRow({ timeline, stage, summary }: StageRowProps) {
  const overlays = currentOverlays(timeline, stage);
  return (
    <li>
      <div class="stage-name">
        <span
          class="mark-key"
          title="Its marks on the scrubber"
          data-color={stageColorIndex(timeline, stage)}
        />
        <span>{stage.stage}</span>
        {summary.stale_count > 0 && <StaleBadge count={summary.stale_count} />}
        <span class="number">{formatCount(summary.frame_count)}</span>
      </div>
      <ul>
        {Object.entries(summary.names).map(([name, count]) => {
          const key = layerKey({ ...stage, name });
          return (
            <li key={name}>
              <label
                class="name-row"
                data-drawn={overlays === null || overlays.names.includes(name)}
              >
                <input
                  type="checkbox"
                  checked={visibleLayers.value.some((layer) => layerKey(layer) === key)}
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

/** Dominant color of a layer, kept from earlier frames where the current frame lacks the layer. */
function Swatch({ layer }: { layer: Layer }) {
  const key = layerKey(layer);
  const last = useRef<SwatchColor>({ key, color: null, measuredAt: 0 });
  const overlay = displayedOverlay(layer);
  const { color, measuredAt } = last.current;
  const isOtherLayer = last.current.key !== key;
  const isRecent =
    isPlaying.value &&
    color !== null &&
    performance.now() - measuredAt < SWATCH_UPDATE_MILLISECONDS;
  if (isOtherLayer || !isRecent) {
    const current = overlay === null ? null : overlayColor(overlay);
    if (isOtherLayer || current !== null)
      last.current = { key, color: current, measuredAt: performance.now() };
  }
  const swatchColor = last.current.color;
  return (
    <i
      class="swatch"
      data-drawn={swatchColor ?? ""}
      style={{ background: swatchColor ?? "none" }}
    />
  );
}

interface SwatchColor {
  readonly key: string;
  readonly color: string | null;
  readonly measuredAt: number;
}

/** Badge of an overlay that is drawn scaled, because its size differs from that of the frame. */
function ScaledBadge({ layer }: { layer: Layer }) {
  const row = displayedComposite.value?.row;
  const overlay = displayedOverlay(layer);
  if (row == null || overlay === null) return null;
  if (overlay.width === row.width && overlay.height === row.height) return null;
  return (
    <span class="badge" title="Scaled to the size of the frame">
      {overlay.width} × {overlay.height}
    </span>
  );
}

function displayedOverlay(layer: Layer): OverlayPicture | null {
  const key = layerKey(layer);
  const overlay = displayedComposite.value?.overlays.find((each) => layerKey(each.layer) === key);
  return overlay === undefined || overlay.picture.width === 0 ? null : overlay.picture;
}

function StaleBadge({ count }: { count?: number }) {
  return (
    <span class="badge stale" title="Drawn for older pictures than those cached now">
      {count === undefined ? "stale" : `${formatCount(count)} stale`}
    </span>
  );
}

function currentOverlays(timeline: TimelineModel, stage: StageRef) {
  const sequence = currentFrame.value?.sequence ?? null;
  return sequence === null ? null : timeline.overlaysAt(stage, sequence);
}

function updateLayer(layer: Layer, changes: Partial<Layer>): void {
  const key = layerKey(layer);
  setLayers(
    visibleLayers.peek().map((each) => (layerKey(each) === key ? { ...each, ...changes } : each)),
  );
}

/** Move a layer by one, towards the top (1) or the bottom (-1). */
function moveLayer(layer: Layer, direction: -1 | 1): void {
  const list = [...visibleLayers.peek()];
  const from = list.findIndex((each) => layerKey(each) === layerKey(layer));
  const [moved] = list.splice(from, 1);
  if (moved !== undefined) list.splice(from + direction, 0, moved);
  setLayers(list);
}
