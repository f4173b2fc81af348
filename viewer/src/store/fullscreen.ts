/** Full screen for the frame, or the full window where the browser has no full screen. */
import { signal } from "@preact/signals";

export const isFullScreen = signal(false);

export function toggleFullScreen(): void {
  if (isFullScreen.peek()) exitFullScreen();
  else {
    isFullScreen.value = true;
    // Some mobile browsers lack this function; the frame then fills the window.
    void document.documentElement.requestFullscreen?.().catch(() => undefined);
  }
}

export function exitFullScreen(): void {
  isFullScreen.value = false;
  if (document.fullscreenElement !== null) void document.exitFullscreen();
}

/** Update the state when the browser leaves full screen itself, for example on Escape. */
export function watchFullScreen(): void {
  document.addEventListener("fullscreenchange", () => {
    isFullScreen.value = document.fullscreenElement !== null;
  });
}
