import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { notice } from "../store/app";

/** Component whose code is loaded when it is first rendered. */
export function lazy(load: () => Promise<ComponentType>): ComponentType {
  let loaded: ComponentType | null = null;
  return function Lazy() {
    const [, setIsLoaded] = useState(loaded !== null);
    useEffect(() => {
      if (loaded !== null) return;
      load().then(
        (component) => {
          loaded = component;
          setIsLoaded(true);
        },
        () => {
          notice.value = "Part of the page could not be loaded. Reload the page.";
        },
      );
    }, []);
    const Component = loaded;
    return Component === null ? null : <Component />;
  };
}
