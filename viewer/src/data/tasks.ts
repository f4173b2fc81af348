/** Work of the service as it goes on, from its server-sent events. */
import { signal } from "@preact/signals";
import { connected, getJson, sendJson } from "../api/client";
import type { Task, TaskList } from "../api/types";

export const tasks = signal<ReadonlyMap<string, Task>>(new Map());
/** Counts tasks that ended, for lists that then are out of date. */
export const finishedCount = signal(0);

const REOPEN_MILLISECONDS = 3000;

export function isRunning(task: Task): boolean {
  return task.state === "queued" || task.state === "running";
}

export function runningTask(timelineId: string): Task | undefined {
  return [...tasks.value.values()].find(
    (task) => task.timeline_id === timelineId && isRunning(task),
  );
}

export function note(task: Task): void {
  const before = tasks.peek().get(task.task_id);
  tasks.value = new Map(tasks.peek()).set(task.task_id, task);
  if (!isRunning(task) && (before === undefined || isRunning(before))) finishedCount.value += 1;
}

export function dismiss(task: Task): void {
  const left = new Map(tasks.peek());
  left.delete(task.task_id);
  tasks.value = left;
}

export async function cancel(task: Task): Promise<void> {
  await sendJson("DELETE", `api/tasks/${task.task_id}`);
}

/** Follow the service's tasks until the page goes; a stream that breaks is opened again. */
export function follow(): void {
  const source = new EventSource("api/events");
  source.addEventListener("task", (event: MessageEvent<string>) => {
    note(JSON.parse(event.data) as Task);
  });
  source.addEventListener("open", () => {
    connected.value = true;
    getJson<TaskList>("api/tasks").then(
      (answer) => {
        for (const task of answer.tasks) if (isRunning(task)) note(task);
      },
      () => undefined,
    );
  });
  source.addEventListener("error", () => {
    if (navigator.onLine === false || source.readyState === EventSource.CONNECTING) {
      connected.value = false;
    }
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(follow, REOPEN_MILLISECONDS);
  });
}
