/** Decoding of pictures, in a worker if it has started: creating a Blob blocks the main thread. */

export interface DecodeRequest {
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type: string;
}

export type DecodeResponse =
  | { readonly id: number; readonly bitmap: ImageBitmap }
  | { readonly id: number; readonly problem: string };

interface PendingDecode {
  readonly request: DecodeRequest;
  readonly resolve: (bitmap: ImageBitmap | Promise<ImageBitmap>) => void;
  readonly reject: (error: Error) => void;
}

const PNG_FIRST_BYTE = 0x89;

let worker: Worker | null = null;
let lastId = 0;
const pending = new Map<number, PendingDecode>();

/** Start the worker. Until it is ready, and if it fails, the main thread decodes. */
export function startDecodeWorker(): void {
  const starting = new Worker(new URL("./decoder.ts", import.meta.url), { type: "module" });
  starting.addEventListener("message", ({ data }: MessageEvent<DecodeResponse | "ready">) => {
    if (data === "ready") worker = starting;
    else handleResponse(data);
  });
  starting.addEventListener("error", () => {
    worker = null;
    starting.terminate();
    for (const { request, resolve } of pending.values()) resolve(decodeOnMainThread(request));
    pending.clear();
  });
}

/** Decode a JPEG or PNG. */
export async function decodePicture(bytes: Uint8Array<ArrayBuffer>): Promise<ImageBitmap> {
  lastId += 1;
  const type = bytes[0] === PNG_FIRST_BYTE ? "image/png" : "image/jpeg";
  const request = { id: lastId, bytes, type };
  if (worker === null) return await decodeOnMainThread(request);
  worker.postMessage(request);
  return await new Promise((resolve, reject) => {
    pending.set(request.id, { request, resolve, reject });
  });
}

function handleResponse(response: DecodeResponse): void {
  const decode = pending.get(response.id);
  pending.delete(response.id);
  if ("bitmap" in response) {
    if (decode === undefined) response.bitmap.close();
    else decode.resolve(response.bitmap);
  } else decode?.reject(new Error(response.problem));
}

async function decodeOnMainThread({ bytes, type }: DecodeRequest): Promise<ImageBitmap> {
  return await createImageBitmap(new Blob([bytes], { type }));
}
