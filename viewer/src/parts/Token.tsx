import { useSignal } from "@preact/signals";
import { signIn } from "../api/client";
import { Modal } from "./Modal";

export function Token() {
  const token = useSignal("");
  const problem = useSignal<string | null>(null);
  return (
    <Modal title="Token" onClose={(element) => element.showModal()}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          signIn(token.value.trim()).then(
            (taken) => {
              if (!taken) problem.value = "The service does not take this token.";
            },
            () => {
              problem.value = "The service cannot be reached. Try again.";
            },
          );
        }}
      >
        <label>
          This service asks for a token
          <input
            type="password"
            autoComplete="current-password"
            // biome-ignore lint/a11y/noAutofocus: nothing else can be done before
            autoFocus
            value={token.value}
            onInput={(event) => {
              token.value = event.currentTarget.value;
            }}
          />
        </label>
        <p
          class={problem.value === null ? "hint" : "wrong"}
          role={problem.value ? "alert" : undefined}
        >
          {problem.value ??
            "Whoever runs the service has it. The browser keeps a session, not the token."}
        </p>
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
    </Modal>
  );
}
