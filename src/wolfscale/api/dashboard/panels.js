/** The smaller parts: where statements went, the node itself, what happened. */

import { element, setAttribute, setText, showList, showPairs } from "./dom.js";
import { bytes, counted, duration, moment, whole } from "./format.js";

const FEW_EVENTS = 12;

/** Show how many of the clients' statements ran where since the node started. */
export function showStatements(statements) {
  const panel = document.getElementById("statements");
  if (!panel.firstChild) {
    panel.append(
      element("div", { class: "share", "aria-hidden": "true" }, element("span"), element("span")),
      element("dl", { class: "values" }),
      element("p", { class: "soft" }, "Counted since this node started."),
    );
  }
  const total = statements.local + statements.leader;
  const [local, leader] = panel.querySelectorAll(".share span");
  local.style.flexGrow = statements.local;
  leader.style.flexGrow = statements.leader;
  setAttribute(panel.firstChild, "hidden", total === 0 ? "" : null);
  const share = (count) => (total ? `${whole(count)} (${Math.round((100 * count) / total)} %)` : whole(count));
  showPairs(panel.querySelector("dl"), [
    ["On this node’s MariaDB", share(statements.local)],
    ["On the leader", share(statements.leader)],
    ["Refused", whole(statements.refused)],
    ["Taken for reads, run on the leader after all", whole(statements.misjudged)],
    ["Reads sent to the leader for lag", whole(statements.stale)],
  ]);
}

/** Show the answering node: process, proxy, MariaDB, log. */
export function showNode(status) {
  const { process, proxy, database, log, applied } = status;
  showPairs(document.getElementById("node"), [
    ["Version", process.version],
    ["Up for", duration(process.uptime_seconds)],
    ["Memory of the process", bytes(process.rss_bytes)],
    ["MySQL clients", proxy ? `${counted(proxy.sessions, "session")} on ${proxy.address}` : "no proxy here"],
    ["MariaDB", [database.version, database.state].filter(Boolean).join(", ")],
    ["Log", `entries ${whole(log.first_index)} to ${whole(log.last_index)}`],
    ["Committed", whole(log.commit_index)],
    ["Safe in MariaDB’s files", `up to entry ${whole(applied.settled_index)}`],
  ]);
}

let everyEvent = false;

/** Show what happened, the newest first: a few, or all on request. */
export function showEvents(events, nowSeconds) {
  const shown = everyEvent ? events : events.slice(0, FEW_EVENTS);
  const seen = new Map();
  showList(
    document.getElementById("events"),
    shown.length ? shown : [null],
    (event) => {
      // Equal events of one moment are told apart by their number, counted from the oldest.
      const text = event === null ? "none" : `${event.time} ${event.kind} ${event.text}`;
      seen.set(text, (seen.get(text) ?? 0) + 1);
      return `${text} ${seen.get(text)}`;
    },
    makeEvent,
    (item, event) => event && setText(item.querySelector("time"), moment(event.time, nowSeconds)),
  );
  const more = document.getElementById("events-more");
  setAttribute(more, "hidden", events.length > FEW_EVENTS ? null : "");
  setText(more, everyEvent ? "Show only the newest" : `Show all ${events.length}`);
  more.onclick = () => {
    everyEvent = !everyEvent;
    showEvents(events, nowSeconds);
  };
}

function makeEvent(event) {
  if (event === null) return element("li", { class: "soft" }, "Nothing notable since this node started.");
  const fields = Object.entries(event.fields).map(([name, value]) => `${name}=${value}`);
  return element(
    "li",
    {},
    element("time", { datetime: new Date(event.time * 1000).toISOString() }),
    element("span", { class: "chip", "data-look": "plain" }, event.kind),
    element("div", {}, element("p", {}, event.text), fields.length ? element("p", { class: "fields" }, fields.join("  ")) : null),
  );
}
