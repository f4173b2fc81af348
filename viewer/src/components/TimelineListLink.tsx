import type { ComponentChildren } from "preact";
import { openTimeline } from "../store/view";

interface TimelineListLinkProps {
  class: string;
  children: ComponentChildren;
}

/** Link to the list of timelines. It is a real link, so that it can open in another tab. */
export function TimelineListLink({ class: className, children }: TimelineListLinkProps) {
  return (
    <a
      class={className}
      href="./"
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        openTimeline(null);
      }}
    >
      {children}
    </a>
  );
}
