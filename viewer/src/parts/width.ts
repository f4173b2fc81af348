import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

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
