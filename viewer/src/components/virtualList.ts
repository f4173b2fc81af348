/** TanStack Virtual in a Preact component. */
import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  type VirtualItem,
  Virtualizer,
} from "@tanstack/virtual-core";
import { useEffect, useReducer, useRef } from "preact/hooks";

export function useVirtualList(
  scroller: { readonly current: HTMLElement | null },
  count: number,
  rowPixels: number,
): { readonly items: readonly VirtualItem[]; readonly total: number } {
  const [, forceUpdate] = useReducer((renders: number, _: undefined) => renders + 1, 0);
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowPixels,
    overscan: 5,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => forceUpdate(undefined),
  };
  const virtualizer = useRef<Virtualizer<HTMLElement, Element> | undefined>(undefined);
  virtualizer.current ??= new Virtualizer<HTMLElement, Element>(options);
  virtualizer.current.setOptions(options);
  useEffect(() => virtualizer.current?._didMount(), []);
  useEffect(() => {
    virtualizer.current?._willUpdate();
    forceUpdate(undefined);
  }, [count]);
  return {
    items: virtualizer.current.getVirtualItems(),
    total: virtualizer.current.getTotalSize(),
  };
}
