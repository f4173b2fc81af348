/** Tasks of the service and their progress, from its server-sent events. */
import { signal } from "@preact/signals";
import { getJson, isConnected, sendJson } from "./client";
import type { Task, TaskList } from "./types";

export const tasks = signal<ReadonlyMap<string, Task>>(new Map());
/** Number of tasks that finished: a change of it means that loaded lists are outdated. */
export const finishedTaskCount = signal(0);

const RECONNECT_MILLISECONDS = 3000;

export function isRunning(task: Task): boolean {
  return task.state === "queued" || task.state === "running";
}

export function findRunningTask(timelineId: string): Task | undefined {
  return [...tasks.value.values()].find(
    (task) => task.timeline_id === timelineId && isRunning(task),
  );
}

export function updateTask(task: Task): void {
  const previous = tasks.peek().get(task.task_id);
  tasks.value = new Map(tasks.peek()).set(task.task_id, task);
  if (!isRunning(task) && (previous === undefined || isRunning(previous)))
    finishedTaskCount.value += 1;
}

export function dismissTask(task: Task): void {
  const remaining = new Map(tasks.peek());
  remaining.delete(task.task_id);
  tasks.value = remaining;
}

export async function cancelTask(task: Task): Promise<void> {
  await sendJson("DELETE", `api/v1/tasks/${task.task_id}`);
}

/** Subscribe to the events of tasks until the page closes, and reconnect if the stream breaks. */
export function subscribeToTasks(): void {
  const source = new EventSource("api/v1/events");
  source.addEventListener("task", (event: MessageEvent<string>) => {
    updateTask(JSON.parse(event.data) as Task);
  });
  source.addEventListener("open", () => {
    isConnected.value = true;
    getJson<TaskList>("api/v1/tasks").then(
      (response) => {
        for (const task of response.tasks) if (isRunning(task)) updateTask(task);
      },
      () => undefined,
    );
  });
  source.addEventListener("error", () => {
    if (navigator.onLine === false || source.readyState === EventSource.CONNECTING) {
      isConnected.value = false;
    }
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(subscribeToTasks, RECONNECT_MILLISECONDS);
  });
}
