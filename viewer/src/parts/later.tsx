import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { notice } from "../state/app";

/** A component whose code is fetched when it is first shown. */
export function later(load: () => Promise<ComponentType>): ComponentType {
  let loaded: ComponentType | null = null;
  return function Later() {
    const [, redraw] = useState(loaded !== null);
    useEffect(() => {
      if (loaded !== null) return;
      load().then(
        (component) => {
          loaded = component;
          redraw(true);
        },
        () => {
          notice.value = "A part of the page could not be fetched. Load the page again.";
        },
      );
    }, []);
    const Component = loaded;
    return Component === null ? null : <Component />;
  };
}
