/** What keys do. */

import { type Command, commandOf } from "../pure/keys";
import {
  changeOpacity,
  dialog,
  metadataShown,
  moveBy,
  moveTo,
  moveToOverlay,
  opened,
  overlaysHidden,
  resets,
} from "./app";
import { cycleMode, moveToDifference } from "./comparing";
import { playing, togglePlaying } from "./player";
import { comparison, setComparison } from "./view";

export function pressKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || opened.peek() === null) return;
  const command = commandOf(event);
  if (command === null || isElsewhere(event, command)) return;
  event.preventDefault();
  run(command);
}

export function releaseKey(event: KeyboardEvent): void {
  if (event.key.toLowerCase() === "h") overlaysHidden.value = false;
}

/** A key may be let go of while another window has the keyboard. */
export function releaseAll(): void {
  overlaysHidden.value = false;
}

export function run(command: Command): void {
  switch (command.do) {
    case "play":
      togglePlaying();
      return;
    case "step":
      playing.value = false;
      moveBy(command.frames);
      return;
    case "edge":
      moveTo(command.edge === "first" ? 0 : Number.POSITIVE_INFINITY);
      return;
    case "overlay":
      void moveToOverlay(command.direction);
      return;
    case "difference":
      void moveToDifference(command.direction);
      return;
    case "percent":
      moveTo((((opened.peek()?.count ?? 1) - 1) * command.percent) / 100);
      return;
    case "opacity":
      changeOpacity(command.change);
      return;
    case "goTo":
      dialog.value = "goTo";
      return;
    case "hide":
      overlaysHidden.value = true;
      return;
    case "compare":
      cycleMode();
      return;
    case "reset":
      resets.value += 1;
      return;
    case "metadata":
      metadataShown.value = !metadataShown.peek();
      return;
    case "help":
      dialog.value = "help";
      return;
    case "close":
      close();
  }
}

function close(): void {
  if (metadataShown.peek()) metadataShown.value = false;
  else if (comparison.peek() !== null) setComparison(null);
}

/** Fields take what is typed in them, buttons their Space, and a dialog all. */
function isElsewhere(event: KeyboardEvent, command: Command): boolean {
  if (dialog.peek() !== null) return true;
  if (!(event.target instanceof HTMLElement)) return false;
  const { tagName } = event.target;
  if (tagName === "SELECT" || tagName === "TEXTAREA") return true;
  if (tagName === "INPUT") return !isToggle(event.target) || command.do === "play";
  return (
    (tagName === "BUTTON" || tagName === "SUMMARY" || tagName === "A") && command.do === "play"
  );
}

function isToggle(element: HTMLElement): boolean {
  return element instanceof HTMLInputElement && element.type === "checkbox";
}
