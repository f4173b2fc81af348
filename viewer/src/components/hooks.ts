import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

/**
 * Return a function that creates an abort signal for the next redraw, and aborts the previous signal in
 * a microtask: requests that both redraws need are then shared, not canceled and sent again.
 */
export function useRedrawSignal(): () => AbortSignal {
  const current = useRef<AbortController | null>(null);
  useEffect(() => () => current.current?.abort(), []);
  return () => {
    const previous = current.current;
    current.current = new AbortController();
    if (previous !== null) queueMicrotask(() => previous.abort());
    return current.current.signal;
  };
}

/** The width of an element in CSS pixels, kept up to date. */
export function useWidth(element: { readonly current: Element | null }): Signal<number> {
  const width = useSignal(0);
  useEffect(() => {
    if (element.current === null) return;
    const observer = new ResizeObserver(([entry]) => {
      width.value = entry?.contentRect.width ?? 0;
    });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return width;
}
