/** Page for a URL whose timeline does not exist or has an invalid id. */
import type { TimelineModel } from "../model/timelineModel";
import { TimelineListLink } from "./TimelineListLink";

interface NotFoundProps {
  title: string;
  text?: string;
  /** Timeline to check again, because it may have been created since. */
  retry?: TimelineModel;
}

export function NotFound({ title, text, retry }: NotFoundProps) {
  return (
    <main class="lost">
      <h1>{title}</h1>
      <p role="alert">
        {text ?? "It may have been deleted, or not been extracted yet, or the URL may be wrong."}
      </p>
      <div class="modes">
        {retry !== undefined && (
          <button type="button" onClick={() => void retry.refresh()}>
            Check again
          </button>
        )}
        <TimelineListLink class="button primary">Show all timelines</TimelineListLink>
      </div>
    </main>
  );
}
