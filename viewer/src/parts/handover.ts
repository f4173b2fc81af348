import { useEffect, useRef } from "preact/hooks";

/**
 * A signal for each drawing, which ends that of the one before only after this one has asked for what
 * it needs: what both need is then not asked for again.
 */
export function useHandOver(): () => AbortSignal {
  const current = useRef<AbortController | null>(null);
  useEffect(() => () => current.current?.abort(), []);
  return () => {
    const before = current.current;
    current.current = new AbortController();
    if (before !== null) queueMicrotask(() => before.abort());
    return current.current.signal;
  };
}
