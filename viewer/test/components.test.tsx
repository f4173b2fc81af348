import { cleanup, fireEvent, render, screen } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Detail } from "../src/api/types";
import { HelpDialog } from "../src/components/HelpDialog";
import { LayerPanel } from "../src/components/LayerPanel";
import { EMPTY_VIEW } from "../src/lib/viewUrl";
import { TimelineModel } from "../src/model/timelineModel";
import { currentTimeline, visibleLayers } from "../src/store/app";
import { view } from "../src/store/view";

const stages = {
  edges: { frame_count: 3, names: { canny: 3 }, stale_count: 2 },
  boxes: { frame_count: 1, names: { cars: 1, people: 1 }, stale_count: 0 },
};

beforeEach(() => {
  const timeline = new TimelineModel("match-42");
  timeline.detail.value = { jobs: { "run-7": stages } } as unknown as Detail;
  currentTimeline.value = timeline;
  view.value = { ...EMPTY_VIEW, timeline: "match-42", layers: [] };
});
afterEach(cleanup);

function renderPanel(): void {
  render(<LayerPanel timeline={currentTimeline.value as TimelineModel} />);
}

describe("LayerPanel", () => {
  test("shows a checked overlay on top of the others", () => {
    renderPanel();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /cars/ }));
    expect(visibleLayers.value.map(({ name }) => name)).toEqual(["canny", "cars"]);
  });

  test("hides an overlay that is unchecked", () => {
    renderPanel();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    expect(visibleLayers.value).toEqual([]);
  });

  test("shows the number of stale overlays", () => {
    renderPanel();
    expect(screen.getByText("2 stale")).toBeTruthy();
  });

  test("changes the order of layers", () => {
    renderPanel();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /cars/ }));
    fireEvent.click(screen.getByRole("button", { name: "Move run-7/edges/canny up" }));
    expect(visibleLayers.value.map(({ name }) => name)).toEqual(["cars", "canny"]);
  });

  test("changes the opacity of a single layer", () => {
    renderPanel();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /cars/ }));
    fireEvent.input(screen.getByRole("slider", { name: "Opacity of run-7/edges/canny" }), {
      target: { value: "40", valueAsNumber: 40 },
    });
    expect(visibleLayers.value.map(({ opacity }) => opacity)).toEqual([0.4, 1]);
  });
});

test("the help lists each key once", () => {
  render(<HelpDialog />);
  expect(screen.getByText("Hold: hide overlays")).toBeTruthy();
  expect(screen.getAllByText("Space")).toHaveLength(1);
});
