/** Return of the focus to the frame after a click, so that shortcuts keep working. */

const TEXT_TYPES = ["text", "search", "password", "number", "email", "url", "tel"];

/** True if the latest input came from a pointer, not the keyboard. */
let isPointerInput = false;
/** True if the focused element was focused by a pointer. */
let isFocusedByPointer = false;

export function isTextField(element: Element): boolean {
  if (element instanceof HTMLInputElement) return TEXT_TYPES.includes(element.type);
  return element instanceof HTMLTextAreaElement;
}

/** Replaces `:focus-visible`, which also matches selects that were clicked. */
export function isFocusedByKeyboard(): boolean {
  return !isFocusedByPointer;
}

export function returnFocusToFrame(): void {
  const recordInput = (event: Event) => {
    isPointerInput = event.type === "pointerdown";
  };
  addEventListener("pointerdown", recordInput, true);
  addEventListener("keydown", recordInput, true);
  addEventListener("focusin", () => {
    isFocusedByPointer = isPointerInput;
  });
  // Moving the focus would close a select that this click opens.
  addEventListener("click", (event) => {
    if (!(event.target instanceof HTMLSelectElement)) focusFrame();
  });
  addEventListener("change", focusFrame);
}

function focusFrame(): void {
  const focused = document.activeElement;
  if (!isPointerInput || focused === null || isTextField(focused)) return;
  if (focused.closest("dialog") !== null) return;
  document.querySelector<HTMLElement>(".stage")?.focus({ preventScroll: true });
}
