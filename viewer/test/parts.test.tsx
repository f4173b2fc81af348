import { cleanup, fireEvent, render, screen } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Detail } from "../src/api/types";
import { Opened } from "../src/data/opened";
import { Help } from "../src/parts/Help";
import { Layers } from "../src/parts/Layers";
import { EMPTY_VIEW } from "../src/pure/address";
import { layers, opened } from "../src/state/app";
import { view } from "../src/state/view";

const stages = {
  edges: { frame_count: 3, names: { canny: 3 }, stale_count: 2 },
  boxes: { frame_count: 1, names: { cars: 1, people: 1 }, stale_count: 0 },
};

beforeEach(() => {
  const timeline = new Opened("match-42");
  timeline.detail.value = { jobs: { "run-7": stages } } as unknown as Detail;
  opened.value = timeline;
  view.value = { ...EMPTY_VIEW, timeline: "match-42", layers: [] };
});
afterEach(cleanup);

function show(): void {
  render(<Layers timeline={opened.value as Opened} />);
}

describe("the tree of overlays", () => {
  test("shows a name that is chosen, on top of the others", () => {
    show();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /cars/ }));
    expect(layers.value.map(({ name }) => name)).toEqual(["canny", "cars"]);
  });

  test("hides a name that is chosen again", () => {
    show();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    expect(layers.value).toEqual([]);
  });

  test("tells how many overlays are stale", () => {
    show();
    expect(screen.getByText("2 stale")).toBeTruthy();
  });

  test("changes the order of what is drawn", () => {
    show();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /cars/ }));
    fireEvent.click(screen.getByRole("button", { name: "Move run-7/edges/canny up" }));
    expect(layers.value.map(({ name }) => name)).toEqual(["cars", "canny"]);
  });

  test("changes the opacity of one name alone", () => {
    show();
    fireEvent.click(screen.getByRole("checkbox", { name: /canny/ }));
    fireEvent.click(screen.getByRole("checkbox", { name: /cars/ }));
    fireEvent.input(screen.getByRole("slider", { name: "Opacity of run-7/edges/canny" }), {
      target: { value: "40", valueAsNumber: 40 },
    });
    expect(layers.value.map(({ opacity }) => opacity)).toEqual([0.4, 1]);
  });
});

test("the help lists the keys in groups", () => {
  render(<Help />);
  expect(screen.getByText("Hold: hide overlays")).toBeTruthy();
  expect(screen.getAllByText("Space")).toHaveLength(1);
});
