import { useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { connected, tokenWanted } from "../api/client";
import { announcement, dialog, notice, opened, startBackground } from "../state/app";
import { pressKey, releaseAll, releaseKey } from "../state/commands";
import { keepAhead, keepPlaying } from "../state/player";
import { keepTheme } from "../state/theme";
import { timelineId } from "../state/view";
import { later } from "./later";
import { TimelinePage } from "./TimelinePage";

// What the first frame does not need comes in files of its own.
const TimelineList = later(() => import("./TimelineList").then((module) => module.TimelineList));
const Extract = later(() => import("./Extract").then((module) => module.Extract));
const GoTo = later(() => import("./GoTo").then((module) => module.GoTo));
const Help = later(() => import("./Help").then((module) => module.Help));
const Token = later(() => import("./Token").then((module) => module.Token));

const NOTICE_MILLISECONDS = 6000;

export function App() {
  useEffect(() => {
    keepTheme();
    keepAhead();
    keepPlaying();
    addEventListener("keydown", pressKey);
    addEventListener("keyup", releaseKey);
    addEventListener("blur", releaseAll);
  }, []);
  useSignalEffect(() => {
    const id = timelineId.value;
    document.title = id === null ? "framecache" : `${id} · framecache`;
    if (id === null) startBackground();
  });
  useSignalEffect(() => {
    if (notice.value === null) return;
    const timer = setTimeout(() => {
      notice.value = null;
    }, NOTICE_MILLISECONDS);
    return () => clearTimeout(timer);
  });
  return (
    <>
      {!connected.value && (
        <div class="banner" role="alert">
          The service cannot be reached. Trying again…
        </div>
      )}
      {timelineId.value === null && <TimelineList />}
      {timelineId.value !== null && opened.value !== null && (
        <TimelinePage key={timelineId.value} timeline={opened.value} />
      )}
      {tokenWanted.value && <Token />}
      {dialog.value === "help" && <Help />}
      {dialog.value === "goTo" && <GoTo />}
      {dialog.value === "extract" && <Extract />}
      {notice.value !== null && (
        <div class="notice" role="status">
          {notice.value}
        </div>
      )}
      <div class="unseen" aria-live="polite">
        {announcement.value}
      </div>
    </>
  );
}
