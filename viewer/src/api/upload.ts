import { ServiceError } from "./client";
import type { Problem, Uploaded } from "./types";

/** Send a video to the service; `fetch` cannot tell how far a body has gone, so this asks XHR. */
export function upload(
  timelineId: string,
  file: File,
  progress: (part: number) => void,
): Promise<Uploaded> {
  const name = file.name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "video";
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("PUT", `api/timelines/${encodeURIComponent(timelineId)}/uploads/${name}`);
    sending.responseType = "json";
    sending.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    sending.addEventListener("load", () => {
      if (sending.status < 300) return resolve(sending.response as Uploaded);
      const problem = sending.response as Problem | null;
      const message = problem?.detail ?? `The service answered ${sending.status}.`;
      reject(new ServiceError(sending.status, problem?.code ?? "", message));
    });
    sending.addEventListener("error", () => {
      reject(new ServiceError(0, "unreachable", "The upload broke off. Try again."));
    });
    sending.send(file);
  });
}
