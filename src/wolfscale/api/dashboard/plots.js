/** Plots of the last minutes: which there are, which part is shown, and one cursor through all of them. */

import { element } from "./dom.js";
import { bytes, milliseconds, number, whole } from "./format.js";
import { LinePlot } from "./line_plot.js";

const perSecond = (value) => `${number(value)}/s`;

const PLOTS = [
  {
    title: "Commits of the cluster",
    unit: "a second",
    series: [{ key: "commits_per_second", label: "commits" }],
    format: perSecond,
    axis: { least: 10, integer: true },
  },
  {
    title: "Commit latency",
    unit: "until a majority holds it",
    series: [
      { key: "commit_p50_ms", label: "median" },
      { key: "commit_p99_ms", label: "99th percentile" },
    ],
    format: milliseconds,
    axis: { least: 1 },
  },
  {
    title: "Statements of this node’s clients",
    unit: "a second",
    series: [
      { key: "local_per_second", label: "run here" },
      { key: "leader_per_second", label: "on the leader" },
    ],
    format: perSecond,
    axis: { least: 10, integer: true },
  },
  {
    title: "Client sessions on this node",
    unit: "open",
    series: [{ key: "sessions", label: "sessions" }],
    format: whole,
    axis: { least: 4, integer: true },
  },
  {
    title: "Lag of this node’s MariaDB",
    unit: "transactions",
    series: [{ key: "lag_groups", label: "behind" }],
    format: whole,
    axis: { least: 10, integer: true },
  },
  {
    title: "Written to this node’s log",
    unit: "bytes a second",
    series: [{ key: "log_bytes_per_second", label: "log" }],
    format: (value) => `${bytes(value)}/s`,
    axis: { least: 1024, binary: true },
  },
];

/** All plots of the page. */
export class Plots {
  #plots;
  #history = null;
  #minutes = 10;
  /** How many seconds before the newest value the cursor stands; null: it is not shown. */
  #cursor = null;

  /** @param container gets one figure a plot. */
  constructor(container) {
    const move = (cursor) => {
      this.#cursor = cursor;
      this.#draw();
    };
    this.#plots = PLOTS.map((plot) => new LinePlot(plot, move));
    container.append(...this.#plots.map((plot) => plot.figure));
    let width = 0;
    new ResizeObserver(([entry]) => {
      if (entry.contentRect.width === width) return;
      width = entry.contentRect.width;
      this.#draw();
    }).observe(container);
  }

  /** Show this many of the last minutes. */
  setMinutes(minutes) {
    this.#minutes = minutes;
    this.#draw();
  }

  /** Show the newest values. */
  update(history) {
    this.#history = history;
    this.#draw();
  }

  #draw() {
    if (this.#history === null) return;
    const { interval_seconds: interval, end_time: end, series } = this.#history;
    const count = Math.max(2, Math.round((this.#minutes * 60) / interval));
    for (const plot of this.#plots) plot.draw({ series, interval, end, count, cursor: this.#cursor });
  }
}
