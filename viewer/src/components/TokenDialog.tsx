import { useSignal } from "@preact/signals";
import { signIn } from "../api/client";
import { Modal } from "./Modal";

export function TokenDialog() {
  const token = useSignal("");
  const error = useSignal<string | null>(null);
  return (
    <Modal title="Token" onClose={(element) => element.showModal()}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          signIn(token.value.trim()).then(
            (isAccepted) => {
              if (!isAccepted) error.value = "The service rejects this token.";
            },
            () => {
              error.value = "The service cannot be reached. Try again.";
            },
          );
        }}
      >
        <label>
          This service requires a token
          <input
            type="password"
            autoComplete="current-password"
            // biome-ignore lint/a11y/noAutofocus: nothing else is possible before
            autoFocus
            value={token.value}
            onInput={(event) => {
              token.value = event.currentTarget.value;
            }}
          />
        </label>
        <p class={error.value === null ? "hint" : "wrong"} role={error.value ? "alert" : undefined}>
          {error.value ??
            "Ask the operator of the service for it. The browser keeps a session, not the token."}
        </p>
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
    </Modal>
  );
}
