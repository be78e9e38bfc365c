/** One plot: lines over time with axes, gaps where nothing is known, and a cursor for mouse, finger and keys. */

import { element, setAttribute, setText, svg } from "./dom.js";
import { clock, shortClock } from "./format.js";
import { highest, timeTicks, valueTicks } from "./scale.js";

const HEIGHT = 150;
const TOP = 8;
const BOTTOM = 20;
const LEFT = 58;
const RIGHT = 8;
const PIXELS_A_MINUTE_LABEL = 46;
const PIXELS_A_SECOND_LABEL = 76;
const PAGE_SECONDS = 30;
const FLAG_WIDTH = 58;
const LABEL_WIDTH = 32;
const UNKNOWN = "–";

export class LinePlot {
  #options;
  #moveCursor;
  #axes = svg("g", { class: "axes" });
  #lines;
  #cursorLine = svg("line", { y1: TOP, y2: HEIGHT - BOTTOM });
  #times = [];
  #picture;
  #values;
  #flag = svg("rect", { y: HEIGHT - BOTTOM, width: FLAG_WIDTH, height: BOTTOM, rx: 3 });
  #time = svg("text", { class: "at", y: HEIGHT - 6, "text-anchor": "middle" });
  #cursor = svg("g", { class: "cursor" }, this.#cursorLine, this.#flag, this.#time);
  #shown = null;

  /**
   * @param options.title what is plotted.
   * @param options.unit in what it is counted.
   * @param options.series `{key, label}` of each line: its name in the history and in the legend.
   * @param options.format from a value to its text.
   * @param options.axis see `valueTicks`.
   * @param moveCursor called with how many seconds before the newest value the cursor shall stand, or null.
   */
  constructor(options, moveCursor) {
    this.#options = options;
    this.#moveCursor = moveCursor;
    this.#lines = options.series.map((_, index) => ({
      area: svg("path", { class: `area series-${index}` }),
      line: svg("path", { class: `line series-${index}` }),
    }));
    const lines = this.#lines.flatMap(({ area, line }) => (options.series.length === 1 ? [area, line] : [line]));
    this.#picture = svg(
      "svg",
      { height: HEIGHT, tabindex: 0, role: "slider", "aria-label": `${options.title}, ${options.unit}` },
      this.#axes,
      ...lines,
      this.#cursor,
    );
    this.#values = options.series.map(() => element("b"));
    /** The element to show. */
    this.figure = element(
      "figure",
      {},
      element(
        "figcaption",
        {},
        element("h3", {}, options.title, " ", element("span", { class: "soft" }, options.unit)),
        element("p", { class: "legend" }, ...options.series.map((series, index) => this.#legend(series, index))),
      ),
      this.#picture,
    );
    this.#listen();
  }

  #legend({ label }, index) {
    const sample = svg(
      "svg",
      { class: "sample", width: 22, height: 8, "aria-hidden": "true" },
      svg("line", { class: `line series-${index}`, x1: 1, x2: 21, y1: 4, y2: 4 }),
    );
    return element("span", {}, sample, ` ${label} `, this.#values[index]);
  }

  /**
   * Draw a part of a history.
   *
   * @param view.series lists by name, the newest value last.
   * @param view.interval seconds between two values.
   * @param view.end when the newest was taken, seconds since 1970.
   * @param view.count how many values fit from the left edge to the right one.
   * @param view.cursor seconds before the newest value, or null.
   */
  draw(view) {
    const width = this.figure.clientWidth;
    if (width === 0) return;
    const lists = this.#options.series.map(({ key }) => (view.series[key] ?? []).slice(-view.count));
    const ticks = valueTicks(Math.max(...lists.map(highest)), this.#options.axis);
    const x = (index, length) => LEFT + ((width - LEFT - RIGHT) * (view.count - length + index)) / (view.count - 1);
    const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * value) / ticks.at(-1);
    this.#shown = { view, width, lists, x };
    setAttribute(this.#picture, "viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#drawAxes(ticks, view, width, y);
    lists.forEach((values, number) => {
      const { area, line } = this.#lines[number];
      const runs = knownRuns(values);
      const point = (index) => `${x(index, values.length).toFixed(1)} ${y(values[index]).toFixed(1)}`;
      setAttribute(line, "d", runs.map((run) => linePath(run, point)).join(""));
      const edge = (index) => `${x(index, values.length).toFixed(1)} ${y(0)}`;
      setAttribute(area, "d", runs.map((run) => `${linePath(run, point)}L${edge(run.at(-1))}L${edge(run[0])}Z`).join(""));
    });
    this.#drawCursor();
  }

  #drawAxes(ticks, view, width, y) {
    const right = width - RIGHT;
    const start = view.end - (view.count - 1) * view.interval;
    const xOfTime = (time) => right - ((view.end - time) / (view.end - start)) * (right - LEFT);
    const labels = (pixels) => Math.max(2, Math.floor((right - LEFT) / pixels));
    const withSeconds = (some) => some.length > 1 && some[1] - some[0] < 60;
    let times = timeTicks(start, view.end, labels(PIXELS_A_MINUTE_LABEL));
    if (withSeconds(times)) times = timeTicks(start, view.end, labels(PIXELS_A_SECOND_LABEL));
    const label = withSeconds(times) ? clock : shortClock;
    // A label at the very edge would be cut off.
    const inside = times.filter((time) => xOfTime(time) < width - PIXELS_A_MINUTE_LABEL / 2);
    this.#times = inside.map((time) => svg("text", { x: xOfTime(time), y: HEIGHT - 4, "text-anchor": "middle" }, label(time)));
    this.#axes.replaceChildren(
      ...ticks.map((tick) => svg("line", { x1: LEFT, x2: right, y1: y(tick), y2: y(tick), class: tick ? "grid" : "base" })),
      ...ticks.map((tick) => svg("text", { x: LEFT - 7, y: y(tick) + 4, "text-anchor": "end" }, this.#options.format(tick))),
      ...inside.map((time) => svg("line", { x1: xOfTime(time), x2: xOfTime(time), y1: y(0), y2: y(0) + 4, class: "base" })),
      ...this.#times,
    );
  }

  #drawCursor() {
    const { view, lists, x } = this.#shown;
    const longest = Math.max(...lists.map((values) => values.length));
    const back = view.cursor === null ? 0 : Math.min(Math.round(view.cursor / view.interval), view.count - 1);
    const at = (values) => values[values.length - 1 - back] ?? null;
    lists.forEach((values, index) => {
      const value = at(values);
      setText(this.#values[index], value === null ? UNKNOWN : this.#options.format(value));
    });
    const time = clock(view.end - back * view.interval);
    setText(this.#time, view.cursor === null ? "" : time);
    const place = x(longest - 1 - back, longest);
    setAttribute(this.#cursorLine, "x1", place.toFixed(1));
    setAttribute(this.#cursorLine, "x2", place.toFixed(1));
    const middle = Math.min(place, this.#shown.width - FLAG_WIDTH / 2);
    setAttribute(this.#flag, "x", (middle - FLAG_WIDTH / 2).toFixed(1));
    setAttribute(this.#time, "x", middle.toFixed(1));
    setAttribute(this.#cursor, "visibility", view.cursor === null ? "hidden" : null);
    for (const text of this.#times) {
      const covered = Math.abs(text.getAttribute("x") - middle) < (FLAG_WIDTH + LABEL_WIDTH) / 2;
      setAttribute(text, "visibility", covered && view.cursor !== null ? "hidden" : null);
    }
    this.#describe(time, back, view);
  }

  /** What a screen reader says of the slider; while nobody moves it, it says nothing by itself. */
  #describe(time, back, view) {
    const values = this.#options.series.map(({ label }, index) => `${label} ${this.#values[index].textContent}`);
    setAttribute(this.#picture, "aria-valuemin", -(view.count - 1) * view.interval);
    setAttribute(this.#picture, "aria-valuemax", 0);
    setAttribute(this.#picture, "aria-valuenow", -back * view.interval);
    setAttribute(this.#picture, "aria-valuetext", `${time}: ${values.join(", ")}`);
  }

  #listen() {
    const picture = this.#picture;
    const follow = (event) => {
      if (this.#shown === null) return;
      const { view, width } = this.#shown;
      const share = (width - RIGHT - (event.clientX - picture.getBoundingClientRect().left)) / (width - LEFT - RIGHT);
      this.#moveCursor(Math.min(1, Math.max(0, share)) * (view.count - 1) * view.interval);
    };
    picture.addEventListener("pointermove", follow);
    picture.addEventListener("pointerdown", follow);
    // A finger's values stay until the next touch elsewhere; a mouse's go with it.
    picture.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.#moveCursor(null));
    picture.addEventListener("blur", () => this.#moveCursor(null));
    picture.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    if (this.#shown === null) return;
    const { view } = this.#shown;
    const furthest = (view.count - 1) * view.interval;
    const now = view.cursor ?? 0;
    const target = {
      ArrowLeft: now + view.interval,
      ArrowRight: now - view.interval,
      PageUp: now + PAGE_SECONDS,
      PageDown: now - PAGE_SECONDS,
      Home: furthest,
      End: 0,
      Escape: null,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.#moveCursor(target === null ? null : Math.min(furthest, Math.max(0, target)));
  }
}

/** The indices of the values that are there, in runs without a gap. */
export function knownRuns(values) {
  const runs = [];
  let run = null;
  values.forEach((value, index) => {
    if (value === null) run = null;
    else if (run === null) runs.push((run = [index]));
    else run.push(index);
  });
  return runs;
}

/** A run as a path; a single value becomes a dot, which the line's round ends make of nothing. */
function linePath(run, point) {
  const [first, ...rest] = run.map(point);
  return `M${first}${rest.length ? rest.map((place) => `L${place}`).join("") : "h0"}`;
}
