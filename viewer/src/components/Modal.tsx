import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { dialog } from "../store/app";

interface ModalProps {
  title: string;
  children: ComponentChildren;
  onClose?: (element: HTMLDialogElement) => void;
}

/** Native dialog: the browser traps the focus, and closes it on Escape. */
export function Modal({ title, children, onClose = closeDialog }: ModalProps) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current?.showModal(), []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it
    <dialog
      ref={element}
      class="modal"
      aria-label={title}
      onClose={(event) => onClose(event.currentTarget)}
      onClick={(event) => {
        if (event.target === element.current) element.current?.close();
      }}
    >
      <header>
        <h2>{title}</h2>
        <button
          type="button"
          class="quiet"
          aria-label="Close"
          onClick={() => element.current?.close()}
        >
          ✕
        </button>
      </header>
      {children}
    </dialog>
  );
}

export function closeDialog(): void {
  dialog.value = null;
}
