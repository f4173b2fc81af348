import { signal } from "@preact/signals";
import { dialog, notice, session } from "./app";

/** The video that waits to be extracted. */
export const dropped = signal<File | null>(null);

export function offer(file: File | undefined): void {
  if (file === undefined) return;
  if (session.value?.upload === false) {
    notice.value = "This service takes no videos. Use framecache extract where the store is.";
    return;
  }
  dropped.value = file;
  dialog.value = "extract";
}
