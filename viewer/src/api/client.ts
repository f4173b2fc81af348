/** Requests to the service. URLs are relative to the page, so any path prefix works. */
import { signal } from "@preact/signals";
import type { Problem, Uploaded } from "./types";

/** Error response of the service. */
export class ServiceError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** True if the last request reached the service. */
export const isConnected = signal(true);
/** True if the service requires a token. */
export const isTokenRequired = signal(false);

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

/**
 * Send a request. Waits for a sign-in if the service requires one, and retries if it is unreachable or
 * busy; other error responses throw a ServiceError.
 */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  for (let attempt = 0; ; attempt += 1) {
    const response = await tryFetch(path, init, attempt);
    if (response === null) continue;
    if (response.ok) return response;
    if (response.status === 401) {
      await waitForSignIn(init.signal);
      continue;
    }
    if (response.status === 429 && attempt < RETRY_MILLISECONDS.length) {
      const seconds = Number(response.headers.get("retry-after") ?? "1");
      await delay(Math.min(seconds, 10) * 1000, init.signal);
      continue;
    }
    throw await toServiceError(response);
  }
}

/** Send a request once; null if the service could not be reached, so that the caller retries. */
async function tryFetch(
  path: string,
  init: RequestInit,
  attempt: number,
): Promise<Response | null> {
  try {
    const response = await fetch(path, { credentials: "same-origin", ...init });
    isConnected.value = true;
    return response;
  } catch (error) {
    if (init.signal?.aborted) throw error;
    if (init.method !== undefined && init.method !== "GET") {
      throw new ServiceError(0, "unreachable", "The service cannot be reached. Try again.");
    }
    isConnected.value = false;
    const lastIndex = RETRY_MILLISECONDS.length - 1;
    await delay(RETRY_MILLISECONDS[Math.min(attempt, lastIndex)] ?? 0, init.signal);
    return null;
  }
}

async function toServiceError(response: Response): Promise<ServiceError> {
  try {
    const problem = (await response.json()) as Partial<Problem>;
    const message = problem.detail ?? problem.title ?? response.statusText;
    return new ServiceError(response.status, problem.code ?? "", message);
  } catch {
    return new ServiceError(response.status, "", `The service answered ${response.status}.`);
  }
}

/** Exchange a token for a session; returns false if the service rejects the token. */
export async function signIn(token: string): Promise<boolean> {
  const response = await fetch("api/v1/session", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  if (response.ok) isTokenRequired.value = false;
  return response.ok;
}

/** Sign in with the token in the URL's fragment, and remove it from the URL. */
export async function signInWithUrlToken(): Promise<void> {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  await signIn(token).catch(() => false);
}

/** Upload a video under a name, with XHR, because `fetch` does not report upload progress. */
export function uploadVideo(
  timelineId: string,
  name: string,
  file: File,
  onProgress: (part: number) => void,
): Promise<Uploaded> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("PUT", `api/v1/timelines/${encodeURIComponent(timelineId)}/uploads/${name}`);
    xhr.responseType = "json";
    xhr.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    xhr.addEventListener("load", () => {
      if (xhr.status < 300) return resolve(xhr.response as Uploaded);
      const problem = xhr.response as Problem | null;
      const message = problem?.detail ?? `The service answered ${xhr.status}.`;
      reject(new ServiceError(xhr.status, problem?.code ?? "", message));
    });
    xhr.addEventListener("error", () => {
      reject(new ServiceError(0, "unreachable", "The upload was interrupted. Try again."));
    });
    xhr.send(file);
  });
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function waitForSignIn(abort: AbortSignal | null | undefined): Promise<void> {
  isTokenRequired.value = true;
  return new Promise((resolve, reject) => {
    const unsubscribe = isTokenRequired.subscribe((isRequired) => {
      if (isRequired) return;
      resolve();
      queueMicrotask(() => unsubscribe());
    });
    abort?.addEventListener("abort", () => {
      unsubscribe();
      reject(abort.reason);
    });
  });
}

function delay(milliseconds: number, abort: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    abort?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(abort.reason);
    });
  });
}
