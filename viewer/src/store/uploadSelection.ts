/** Files selected for upload as the chunks of one timeline. */
import { signal } from "@preact/signals";
import { type RejectedFile, rejectionReason } from "../lib/uploadFiles";
import { dialog, notice, session } from "./app";

export interface UploadSelection {
  readonly files: readonly File[];
  readonly rejected: readonly RejectedFile[];
}

export const uploadSelection = signal<UploadSelection | null>(null);

const naturalOrder = new Intl.Collator(undefined, { numeric: true });

/** Open the upload dialog with these files, in natural order of their names. */
export function selectFiles(files: Iterable<File>, folders: readonly string[] = []): void {
  const all = [...files].filter(({ name }) => !folders.includes(name));
  if (all.length + folders.length === 0) return;
  if (session.value?.upload === false) {
    notice.value = "This service does not accept videos. Run framecache extract instead.";
    return;
  }
  const maxBytes = session.value?.max_upload_bytes ?? Number.POSITIVE_INFINITY;
  const checked = all.map((file) => ({ file, reason: rejectionReason(file, maxBytes) }));
  const rejected = checked.flatMap(({ file, reason }) =>
    reason === null ? [] : [{ name: file.name, reason }],
  );
  uploadSelection.value = {
    files: checked
      .flatMap(({ file, reason }) => (reason === null ? [file] : []))
      .sort((one, other) => naturalOrder.compare(one.name, other.name)),
    rejected: [
      ...folders.map((name) => ({ name, reason: "It is a folder: drop its videos instead." })),
      ...rejected,
    ],
  };
  dialog.value = "extract";
}

/** Select the files of a drop event. Its folders are rejected, because they cannot be uploaded. */
export function selectDroppedFiles(transfer: DataTransfer | null): void {
  const folders = [...(transfer?.items ?? [])].flatMap((item) => {
    const entry = item.webkitGetAsEntry?.();
    return entry?.isDirectory ? [entry.name] : [];
  });
  selectFiles(transfer?.files ?? [], folders);
}
