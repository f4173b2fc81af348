import { useSignal } from "@preact/signals";
import { parseDestination } from "../pure/format";
import { goToSequence, goToTime } from "../state/app";
import { keepInHistory } from "../state/view";
import { closeDialog, Modal } from "./Modal";

export function GoTo() {
  const text = useSignal("");
  const wrong = useSignal(false);
  return (
    <Modal title="Go to">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          const destination = parseDestination(text.value);
          wrong.value = destination === null;
          if (destination === null) return;
          keepInHistory();
          if (destination.kind === "sequence") void goToSequence(destination.sequence);
          else void goToTime(destination.seconds, destination.text);
          closeDialog();
        }}
      >
        <label>
          Frame or time
          <input
            class="number"
            // biome-ignore lint/a11y/noAutofocus: the dialog was opened to type here
            autoFocus
            value={text.value}
            aria-invalid={wrong.value}
            aria-describedby="go-to-hint"
            onInput={(event) => {
              text.value = event.currentTarget.value;
            }}
          />
        </label>
        <p id="go-to-hint" class={wrong.value ? "wrong" : "hint"}>
          <code>120</code> is a frame; <code>4.2</code>, <code>4.2s</code>, <code>1:23</code> and{" "}
          <code>1:02:03.5</code> are times.
        </p>
        <button type="submit" class="primary">
          Go
        </button>
      </form>
    </Modal>
  );
}
