/** TanStack Virtual in a Preact component. */
import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  type VirtualItem,
  Virtualizer,
} from "@tanstack/virtual-core";
import { useEffect, useReducer, useRef } from "preact/hooks";

export function useVirtual(
  scroller: { readonly current: HTMLElement | null },
  count: number,
  rowPixels: number,
): { readonly items: readonly VirtualItem[]; readonly total: number } {
  const [, redraw] = useReducer((times: number, _: undefined) => times + 1, 0);
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowPixels,
    overscan: 5,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => redraw(undefined),
  };
  const virtualizer = useRef<Virtualizer<HTMLElement, Element> | undefined>(undefined);
  virtualizer.current ??= new Virtualizer<HTMLElement, Element>(options);
  virtualizer.current.setOptions(options);
  useEffect(() => virtualizer.current?._didMount(), []);
  useEffect(() => {
    virtualizer.current?._willUpdate();
    redraw(undefined);
  }, [count]);
  return {
    items: virtualizer.current.getVirtualItems(),
    total: virtualizer.current.getTotalSize(),
  };
}
