import { useSignal } from "@preact/signals";
import { parseSeekTarget } from "../lib/format";
import { seekToSequence, seekToTime } from "../store/app";
import { pushHistoryEntry } from "../store/view";
import { closeDialog, Modal } from "./Modal";

export function GoToDialog() {
  const text = useSignal("");
  const isInvalid = useSignal(false);
  return (
    <Modal title="Go to">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          const target = parseSeekTarget(text.value);
          isInvalid.value = target === null;
          if (target === null) return;
          pushHistoryEntry();
          if (target.kind === "sequence") void seekToSequence(target.sequence);
          else void seekToTime(target.seconds, target.text);
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
            aria-invalid={isInvalid.value}
            aria-describedby="go-to-hint"
            onInput={(event) => {
              text.value = event.currentTarget.value;
            }}
          />
        </label>
        <p id="go-to-hint" class={isInvalid.value ? "wrong" : "hint"}>
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
