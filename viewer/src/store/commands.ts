/** Execution of keyboard commands. */
import { type Command, commandForKey } from "../lib/shortcuts";
import {
  areOverlaysHidden,
  changeOpacity,
  currentTimeline,
  dialog,
  isMetadataShown,
  seekBy,
  seekToOverlay,
  seekToPosition,
  zoomRequest,
} from "./app";
import { cycleCompareMode, seekToDifference } from "./comparison";
import { isFocusedByKeyboard, isTextField } from "./focus";
import { exitFullScreen, isFullScreen, toggleFullScreen } from "./fullscreen";
import { isPlaying, togglePlayback } from "./player";
import { comparison, setComparison } from "./view";

export function handleKeyDown(event: KeyboardEvent): void {
  if (event.defaultPrevented || currentTimeline.peek() === null) return;
  const command = commandForKey(event);
  if (command === null || isHandledElsewhere(event)) return;
  event.preventDefault();
  runCommand(command);
}

export function handleKeyUp(event: KeyboardEvent): void {
  if (event.key.toLowerCase() === "h") areOverlaysHidden.value = false;
}

/** While another window has the focus, no keyup event arrives. */
export function handleBlur(): void {
  areOverlaysHidden.value = false;
}

export function runCommand(command: Command): void {
  switch (command.type) {
    case "play":
      togglePlayback();
      return;
    case "step":
      isPlaying.value = false;
      seekBy(command.frames);
      return;
    case "edge":
      seekToPosition(command.edge === "first" ? 0 : Number.POSITIVE_INFINITY);
      return;
    case "overlay":
      void seekToOverlay(command.direction);
      return;
    case "difference":
      void seekToDifference(command.direction);
      return;
    case "percent":
      seekToPosition((((currentTimeline.peek()?.count ?? 1) - 1) * command.percent) / 100);
      return;
    case "opacity":
      changeOpacity(command.change);
      return;
    case "goTo":
      dialog.value = "goTo";
      return;
    case "hide":
      areOverlaysHidden.value = true;
      return;
    case "compare":
      cycleCompareMode();
      return;
    case "reset":
      zoomRequest.value = { to: "fit" };
      return;
    case "actualSize":
      zoomRequest.value = { to: "actualSize" };
      return;
    case "fullScreen":
      toggleFullScreen();
      return;
    case "metadata":
      isMetadataShown.value = !isMetadataShown.peek();
      return;
    case "help":
      dialog.value = "help";
      return;
    case "close":
      closeTopmost();
  }
}

function closeTopmost(): void {
  if (isFullScreen.peek()) exitFullScreen();
  else if (isMetadataShown.peek()) isMetadataShown.value = false;
  else if (comparison.peek() !== null) setComparison(null);
}

/** Elements that use Space, Enter or arrow keys themselves. */
const KEYBOARD_CONTROLS =
  "button, select, summary, a[href], input[type=range], input[type=checkbox]";

/**
 * Return true if a dialog, a text field or another control handles the key. A control that was focused
 * by a click does not handle keys, so that shortcuts keep working after the click.
 */
function isHandledElsewhere(event: KeyboardEvent): boolean {
  if (dialog.peek() !== null) return true;
  const element = event.target;
  if (!(element instanceof HTMLElement)) return false;
  if (isTextField(element)) return true;
  // Escape closes an open select.
  if (event.key === "Escape") return element.matches("select");
  return usesKey(element, event.key) && element.matches(KEYBOARD_CONTROLS) && isFocusedByKeyboard();
}

function usesKey(element: HTMLElement, key: string): boolean {
  if (key === " " || key === "Enter") return true;
  if (element.matches("select, input[type=range]")) return /^(Arrow|Page|Home|End)/.test(key);
  return false;
}
