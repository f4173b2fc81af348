/** The service's schemas, named as in its OpenAPI document (`npm run types`). */
import type { components } from "./openapi";

type Schemas = components["schemas"];

export type Summary = Schemas["Summary"];
export type TimelineListPage = Schemas["TimelinePage"];
export type Detail = Schemas["Detail"];
export type StageDetail = Schemas["StageDetail"];
export type SpriteDetail = Schemas["SpriteDetail"];
export type FrameDetail = Schemas["FrameDetail"];
export type FramePage = Schemas["FramePage"];
export type Overview = Schemas["Overview"];
export type OverlayColumns = Schemas["OverlayColumns"];
export type OverlayDifference = Schemas["OverlayDifference"];
export type Task = Schemas["Task"];
export type TaskList = Schemas["TaskList"];
export type Session = Schemas["Session"];
export type Uploaded = Schemas["Uploaded"];
export type Problem = Schemas["Problem"];
