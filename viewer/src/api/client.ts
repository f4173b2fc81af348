/** Requests to the service. Addresses are relative to the page, so any path prefix works. */
import { signal } from "@preact/signals";
import type { Problem } from "./types";

/** The service answered that it cannot. */
export class ServiceError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Whether the service was reachable when it was last asked. */
export const connected = signal(true);
/** Whether the service wants a token before it goes on. */
export const tokenWanted = signal(false);
/** How many requests were given up since something newer was asked for. */
export const cancelledCount = signal(0);

const RETRY_MILLISECONDS = [500, 1000, 2000, 4000, 8000];

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await request(path, signal === undefined ? {} : { signal });
  return (await response.json()) as T;
}

export async function sendJson<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await request(path, {
    method,
    headers: { "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return (response.status === 204 ? null : await response.json()) as T;
}

/** Waits for a lost service and for a token; raises ServiceError for any other refusal. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  for (let attempt = 0; ; attempt += 1) {
    const response = await reach(path, init, attempt);
    if (response === null) continue;
    if (response.ok) return response;
    if (response.status === 401) {
      await untilSignedIn(init.signal);
      continue;
    }
    if (response.status === 429 && attempt < RETRY_MILLISECONDS.length) {
      const seconds = Number(response.headers.get("retry-after") ?? "1");
      await pause(Math.min(seconds, 10) * 1000, init.signal);
      continue;
    }
    throw await problemOf(response);
  }
}

/** Null: the service could not be reached, and it is time to try again. */
async function reach(path: string, init: RequestInit, attempt: number): Promise<Response | null> {
  try {
    const response = await fetch(path, { credentials: "same-origin", ...init });
    connected.value = true;
    return response;
  } catch (error) {
    if (init.signal?.aborted) {
      cancelledCount.value += 1;
      throw error;
    }
    if (init.method !== undefined && init.method !== "GET") {
      throw new ServiceError(0, "unreachable", "The service cannot be reached. Try again.");
    }
    connected.value = false;
    const last = RETRY_MILLISECONDS.length - 1;
    await pause(RETRY_MILLISECONDS[Math.min(attempt, last)] ?? 0, init.signal);
    return null;
  }
}

export async function problemOf(response: Response): Promise<ServiceError> {
  try {
    const problem = (await response.json()) as Partial<Problem>;
    const message = problem.detail ?? problem.title ?? response.statusText;
    return new ServiceError(response.status, problem.code ?? "", message);
  } catch {
    return new ServiceError(response.status, "", `The service answered ${response.status}.`);
  }
}

/** False: the token was refused. */
export async function signIn(token: string): Promise<boolean> {
  const response = await fetch("api/session", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  if (response.ok) tokenWanted.value = false;
  return response.ok;
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function untilSignedIn(abort: AbortSignal | null | undefined): Promise<void> {
  tokenWanted.value = true;
  return new Promise((resolve, reject) => {
    const stop = tokenWanted.subscribe((wanted) => {
      if (wanted) return;
      resolve();
      queueMicrotask(() => stop());
    });
    abort?.addEventListener("abort", () => {
      stop();
      reject(abort.reason);
    });
  });
}

function pause(milliseconds: number, abort: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    abort?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(abort.reason);
    });
  });
}
