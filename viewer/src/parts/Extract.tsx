/** Upload a video, and have it extracted. */
import { useSignal } from "@preact/signals";
import { sendJson } from "../api/client";
import type { Task } from "../api/types";
import { upload } from "../api/upload";
import { note } from "../data/tasks";
import { isId } from "../pure/address";
import { formatBytes } from "../pure/format";
import { session } from "../state/app";
import { dropped } from "../state/dropped";
import { closeDialog, Modal } from "./Modal";

const SAMPLINGS = ["every frame", "fps", "every", "keyframes"] as const;
type SamplingKind = (typeof SAMPLINGS)[number];

export function Extract() {
  const file = dropped.value;
  const id = useSignal(idOf(file?.name ?? ""));
  const kind = useSignal<SamplingKind>("every frame");
  const amount = useSignal("5");
  const sent = useSignal<number | null>(null);
  const problem = useSignal<string | null>(null);
  if (file === null) return null;
  const largest = session.value?.max_upload_bytes ?? Number.POSITIVE_INFINITY;
  const refusal = refusalOf(file, largest, id.value);
  const begin = async () => {
    problem.value = null;
    sent.value = 0;
    try {
      const uploaded = await upload(id.value, file, (part) => {
        sent.value = part;
      });
      const task = await sendJson<Task>("POST", `api/timelines/${id.value}/extract`, {
        chunks: [uploaded.chunk],
        ...samplingOf(kind.value, amount.value),
      });
      note(task);
      closeDialog();
    } catch (error) {
      problem.value = (error as Error).message;
      sent.value = null;
    }
  };
  return (
    <Modal title="Extract a video">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void begin();
        }}
      >
        <p class="hint">
          {file.name}, {formatBytes(file.size)}
        </p>
        <label>
          Timeline
          <input
            value={id.value}
            aria-invalid={refusal !== null}
            onInput={(event) => {
              id.value = event.currentTarget.value;
            }}
          />
        </label>
        <div class="columns">
          <label>
            Frames
            <select
              value={kind.value}
              onChange={(event) => {
                kind.value = event.currentTarget.value as SamplingKind;
              }}
            >
              <option value="every frame">every frame</option>
              <option value="fps">so many a second</option>
              <option value="every">every n-th</option>
              <option value="keyframes">keyframes</option>
            </select>
          </label>
          {(kind.value === "fps" || kind.value === "every") && (
            <label>
              {kind.value === "fps" ? "A second" : "n"}
              <input
                inputMode="decimal"
                value={amount.value}
                onInput={(event) => {
                  amount.value = event.currentTarget.value;
                }}
              />
            </label>
          )}
        </div>
        {(refusal ?? problem.value) !== null && (
          <p class="wrong" role="alert">
            {refusal ?? problem.value}
          </p>
        )}
        {sent.value !== null && (
          <progress max={1} value={sent.value} aria-label="Upload">
            {Math.round(sent.value * 100)} %
          </progress>
        )}
        <button type="submit" class="primary" disabled={refusal !== null || sent.value !== null}>
          {sent.value === null ? "Extract" : "Uploading…"}
        </button>
      </form>
    </Modal>
  );
}

function refusalOf(file: File, largest: number, id: string): string | null {
  if (file.size > largest) {
    return `The service takes up to ${formatBytes(largest)}. Extract it with the command instead.`;
  }
  if (!isId(id)) return "A timeline's id has letters, digits, dots, dashes and underscores.";
  return null;
}

function samplingOf(kind: SamplingKind, amount: string): Record<string, unknown> {
  if (kind === "fps") return { fps: amount };
  if (kind === "every") return { every: Number(amount) };
  return kind === "keyframes" ? { keyframes: true } : {};
}

/** A timeline's id from a file's name. */
function idOf(name: string): string {
  return name
    .replace(/\.[A-Za-z0-9]{1,5}$/, "")
    .replace(/[^A-Za-z0-9_-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 128);
}
