import { useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { isConnected, isTokenRequired } from "../api/client";
import { announcement, currentTimeline, dialog, notice, startBackgroundWork } from "../store/app";
import { handleBlur, handleKeyDown, handleKeyUp } from "../store/commands";
import { returnFocusToFrame } from "../store/focus";
import { watchFullScreen } from "../store/fullscreen";
import { startIdlePrefetch, startPlaybackLoop } from "../store/player";
import { applyTheme } from "../store/theme";
import { timelineId, view } from "../store/view";
import { lazy } from "./lazy";
import { NotFound } from "./NotFound";
import { TimelinePage } from "./TimelinePage";

// The first frame does not need this code, so it is loaded later.
const TimelineList = lazy(() => import("./TimelineList").then((module) => module.TimelineList));
const ExtractDialog = lazy(() => import("./ExtractDialog").then((module) => module.ExtractDialog));
const GoToDialog = lazy(() => import("./GoToDialog").then((module) => module.GoToDialog));
const HelpDialog = lazy(() => import("./HelpDialog").then((module) => module.HelpDialog));
const TokenDialog = lazy(() => import("./TokenDialog").then((module) => module.TokenDialog));

const NOTICE_MILLISECONDS = 6000;

export function App() {
  useEffect(() => {
    applyTheme();
    startIdlePrefetch();
    startPlaybackLoop();
    watchFullScreen();
    returnFocusToFrame();
    addEventListener("keydown", handleKeyDown);
    addEventListener("keyup", handleKeyUp);
    addEventListener("blur", handleBlur);
  }, []);
  useSignalEffect(() => {
    const id = timelineId.value;
    document.title = id === null ? "framecache" : `${id} · framecache`;
    if (id === null) startBackgroundWork();
  });
  useSignalEffect(() => {
    if (notice.value === null) return;
    const timer = setTimeout(() => {
      notice.value = null;
    }, NOTICE_MILLISECONDS);
    return () => clearTimeout(timer);
  });
  const { invalidId } = view.value;
  return (
    <>
      {!isConnected.value && (
        <div class="banner" role="alert">
          The service cannot be reached. Trying again…
        </div>
      )}
      {invalidId !== null && (
        <NotFound
          title={`“${invalidId}” is not a valid timeline id`}
          text="An id begins with a letter or digit, and has up to 128 letters, digits and . _ - : @ + = , ~"
        />
      )}
      {timelineId.value === null && invalidId === null && <TimelineList />}
      {timelineId.value !== null && currentTimeline.value !== null && (
        <TimelinePage key={timelineId.value} timeline={currentTimeline.value} />
      )}
      {isTokenRequired.value && <TokenDialog />}
      {dialog.value === "help" && <HelpDialog />}
      {dialog.value === "goTo" && <GoToDialog />}
      {dialog.value === "extract" && <ExtractDialog />}
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
