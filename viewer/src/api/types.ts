/** The service's answers, by the names of its OpenAPI document. */

export type TimelineState = Summary["state"];

export interface Summary {
  timeline_id: string;
  state: "complete" | "partial" | "cleared" | "unreadable";
  frame_count: number;
  cached_count: number;
  undecodable_count: number;
  duration_seconds: number;
  size_bytes: number;
  width: number;
  height: number;
  layout: "objects" | "packs" | null;
  chunk_count: number;
  chunks_cached: number;
  poster: string | null;
  problem: string | null;
}

export interface ChunkDetail {
  chunk_id: number;
  name: string;
  start_seconds: number;
  duration_seconds: number;
  first_sequence: number;
  frame_count: number;
  cached: boolean;
  undecodable_count: number;
}

export interface StageDetail {
  frame_count: number;
  names: Record<string, number>;
  stale_count: number;
}

export type Jobs = Record<string, Record<string, StageDetail>>;

export interface SpriteSize {
  sheet_count: number;
  columns: number;
  rows: number;
  tile_width: number;
  tile_height: number;
}

export interface SpriteMap extends SpriteSize {
  sheets: { first_position: number; count: number; chunk_id: number }[];
}

export interface Detail extends Summary {
  version: string;
  epoch: string | null;
  sampling: string | null;
  quality: number | null;
  first_sequence: number | null;
  last_sequence: number | null;
  start_seconds: number | null;
  stop_seconds: number | null;
  chunks: ChunkDetail[];
  jobs: Jobs;
  sprites: SpriteSize | null;
}

export interface FrameDetail {
  sequence: number;
  position: number;
  timestamp: number;
  duration_seconds: number;
  chunk_id: number;
  width: number;
  height: number;
  size_bytes: number;
  perceptual_hash: string;
  status: "ok" | "undecodable";
  reason: string;
}

export interface FramePage {
  frames: FrameDetail[];
  next_start: number | null;
}

export interface OverlayColumns {
  sequence: number[];
  names: string[][];
  stale: boolean[];
}

export interface OverlayDifference {
  sequence: number[];
  names: string[][];
}

export interface Task {
  task_id: string;
  timeline_id: string;
  kind: "extract" | "rebuild" | "clear" | "verify" | "delete";
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  frames_done: number;
  frames_total: number;
  result: Record<string, unknown> | null;
  problem: string | null;
  created_at: string;
}

export interface Session {
  scopes: string[];
  read_only: boolean;
  upload: boolean;
  max_upload_bytes: number;
  version: string;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
}

export interface TimelinePage {
  timelines: Summary[];
  next: string | null;
}

export interface TaskList {
  tasks: Task[];
}

export interface Uploaded {
  chunk: string;
  size_bytes: number;
}

export interface Overview {
  count: number;
  bucket_size: number;
  first_sequence: number[];
  timestamp: number[];
  chunk_id: number[];
  undecodable: number[];
  gap: boolean[];
  change: (number | null)[];
}
