/** Upload videos, and extract them as the chunks of one timeline. */
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { sendJson, uploadVideo } from "../api/client";
import { updateTask } from "../api/tasks";
import type { Task } from "../api/types";
import { formatBytes } from "../lib/format";
import {
  moveItem,
  type RejectedFile,
  timelineIdFromFileName,
  uniqueUploadNames,
} from "../lib/uploadFiles";
import { isValidId } from "../lib/viewUrl";
import { type UploadSelection, uploadSelection } from "../store/uploadSelection";
import { closeDialog, Modal } from "./Modal";

const SAMPLINGS = ["every frame", "fps", "every", "keyframes"] as const;
type SamplingKind = (typeof SAMPLINGS)[number];

export function ExtractDialog() {
  return uploadSelection.value === null ? null : <ExtractForm selection={uploadSelection.value} />;
}

function ExtractForm({ selection }: { selection: UploadSelection }) {
  const files = useSignal(selection.files);
  const id = useSignal(timelineIdFromFileName(files.value[0]?.name ?? ""));
  const kind = useSignal<SamplingKind>("every frame");
  const amount = useSignal("5");
  const uploadProgress = useSignal<number | null>(null);
  const errorMessage = useSignal<string | null>(null);
  /** Names of uploaded chunks by timeline id and file, so that a retry uploads only the others. */
  const uploaded = useRef(new Map<string, Map<File, string>>());
  const idError = isValidId(id.value)
    ? null
    : "A timeline's id has letters, digits, dots, dashes and underscores.";
  const isBusy = uploadProgress.value !== null;

  const uploadAll = async (): Promise<string[]> => {
    const chunkNames = uploaded.current.get(id.value) ?? new Map<File, string>();
    uploaded.current.set(id.value, chunkNames);
    // From the original order: a file keeps its name when the user moves it.
    const names = uniqueUploadNames(selection.files.map(({ name }) => name));
    const totalBytes = files.value.reduce((sum, { size }) => sum + size, 0);
    let uploadedBytes = 0;
    for (const file of files.value) {
      if (!chunkNames.has(file)) {
        const name = names[selection.files.indexOf(file)] ?? "video";
        const result = await uploadVideo(id.value, name, file, (part) => {
          uploadProgress.value = (uploadedBytes + part * file.size) / totalBytes;
        });
        chunkNames.set(file, result.chunk);
      }
      uploadedBytes += file.size;
    }
    return files.value.map((file) => chunkNames.get(file) ?? "");
  };
  const submit = async () => {
    errorMessage.value = null;
    uploadProgress.value = 0;
    try {
      const chunks = await uploadAll();
      const task = await sendJson<Task>(
        "POST",
        `api/v1/timelines/${encodeURIComponent(id.value)}/extract`,
        { chunks, ...samplingOptions(kind.value, amount.value) },
      );
      updateTask(task);
      closeDialog();
    } catch (error) {
      errorMessage.value = (error as Error).message;
      uploadProgress.value = null;
    }
  };
  return (
    <Modal title={files.value.length > 1 ? "Extract videos" : "Extract a video"}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <ol class="chunks" aria-label="Chunks in time order">
          {files.value.map((file, index) => (
            <ChunkRow
              key={`${file.name} ${selection.files.indexOf(file)}`}
              file={file}
              index={index}
              count={files.value.length}
              isBusy={isBusy}
              onMove={(to) => {
                files.value = moveItem(files.value, index, to);
              }}
              onRemove={() => {
                files.value = files.value.toSpliced(index, 1);
              }}
            />
          ))}
        </ol>
        <RejectedFiles files={selection.rejected} />
        {files.value.length > 0 && (
          <>
            <label>
              Timeline
              <input
                value={id.value}
                aria-invalid={idError !== null}
                disabled={isBusy}
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
                  <option value="fps">frames per second</option>
                  <option value="every">every n-th frame</option>
                  <option value="keyframes">keyframes</option>
                </select>
              </label>
              {(kind.value === "fps" || kind.value === "every") && (
                <label>
                  {kind.value === "fps" ? "Per second" : "n"}
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
          </>
        )}
        {(idError ?? errorMessage.value) !== null && files.value.length > 0 && (
          <p class="wrong" role="alert">
            {idError ?? errorMessage.value}
          </p>
        )}
        {uploadProgress.value !== null && (
          <progress max={1} value={uploadProgress.value} aria-label="Upload">
            {Math.round(uploadProgress.value * 100)} %
          </progress>
        )}
        <button
          type="submit"
          class="primary"
          disabled={idError !== null || isBusy || files.value.length === 0}
        >
          {isBusy ? "Uploading…" : "Extract"}
        </button>
      </form>
    </Modal>
  );
}

interface ChunkRowProps {
  file: File;
  index: number;
  count: number;
  isBusy: boolean;
  onMove: (to: number) => void;
  onRemove: () => void;
}

function ChunkRow({ file, index, count, isBusy, onMove, onRemove }: ChunkRowProps) {
  return (
    <li>
      <span class="number">{index + 1}</span>
      <span title={file.name}>{file.name}</span>
      <small>{formatBytes(file.size)}</small>
      {count > 1 && (
        <>
          <button
            type="button"
            class="quiet"
            aria-label={`Move ${file.name} up`}
            disabled={index === 0 || isBusy}
            onClick={() => onMove(index - 1)}
          >
            ↑
          </button>
          <button
            type="button"
            class="quiet"
            aria-label={`Move ${file.name} down`}
            disabled={index === count - 1 || isBusy}
            onClick={() => onMove(index + 1)}
          >
            ↓
          </button>
          <button
            type="button"
            class="quiet"
            aria-label={`Remove ${file.name}`}
            disabled={isBusy}
            onClick={onRemove}
          >
            ✕
          </button>
        </>
      )}
    </li>
  );
}

function RejectedFiles({ files }: { files: readonly RejectedFile[] }) {
  if (files.length === 0) return null;
  return (
    <ul class="refused" aria-label="Rejected files">
      {files.map(({ name, reason }) => (
        <li key={name}>
          <strong>{name}</strong> <span>{reason}</span>
        </li>
      ))}
    </ul>
  );
}

function samplingOptions(kind: SamplingKind, amount: string): Record<string, unknown> {
  if (kind === "fps") return { fps: amount };
  if (kind === "every") return { every: Number(amount) };
  return kind === "keyframes" ? { keyframes: true } : {};
}
