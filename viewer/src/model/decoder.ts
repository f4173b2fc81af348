/** Web worker that decodes pictures. */
import type { DecodeRequest, DecodeResponse } from "./decode";

addEventListener("message", async ({ data }: MessageEvent<DecodeRequest>) => {
  const { id, bytes, type } = data;
  try {
    const bitmap = await createImageBitmap(new Blob([bytes], { type }));
    respond({ id, bitmap }, [bitmap]);
  } catch (error) {
    respond({ id, problem: (error as Error).message }, []);
  }
});
respond("ready", []);

function respond(message: DecodeResponse | "ready", transfer: Transferable[]): void {
  // The options object selects the worker's overload; that of a window takes an origin.
  postMessage(message, { transfer });
}
