/** The page at `/` of a node: asks the node once a second and hands the answer to the parts that show it. */

import { Connection } from "./connection.js";
import { setAttribute, setText } from "./dom.js";
import { clock, duration } from "./format.js";
import { showMembers, showNodes } from "./members.js";
import { showEvents, showNode, showStatements } from "./panels.js";
import { Plots } from "./plots.js";
import { announce, showFindings, showNothing, showSilence, showVerdict } from "./summary.js";

const part = (id) => document.getElementById(id);
const show = (id, visible) => setAttribute(part(id), "hidden", visible ? null : "");

let data = null;
const plots = new Plots(part("plots"));
const connection = new Connection(new URL("../data", import.meta.url), { onData, onState });

function onData(answer) {
  if (data !== null && data.status.process.version !== answer.status.process.version) {
    // The node was updated, and this page came with the old version.
    location.reload();
    return;
  }
  data = answer;
  show("shown", true);
  document.title = `${data.node}: ${data.cluster.writable ? "takes writes" : "no writes"} – WolfScale`;
  setText(part("plots-title"), `The last minutes on ${data.node}`);
  setText(part("events-title"), `Events on ${data.node}`);
  showVerdict(data);
  showFindings(data.findings);
  showMembers(data.status);
  showNodes(data.status);
  plots.update(data.history);
  showStatements(data.statements);
  showNode(data.status);
  showEvents(data.events, Date.now() / 1000);
  announce(data.findings);
}

function onState(state) {
  setAttribute(document.body, "data-state", state.name);
  setText(part("link-text"), linkText(state));
  const locked = state.name === "locked";
  if (locked) {
    forget();
    document.title = "Token wanted – WolfScale";
    askForToken(state.reason);
  }
  show("token", locked);
  show("verdict", !locked);
  show("shown", !locked && data !== null);
  show("forget", connection.hasToken);
  show("open-links", !locked && !connection.hasToken);
  if (state.name === "silent") {
    document.title = "No answer – WolfScale";
    showSilence(state, data);
    announce(null);
  }
}

function linkText(state) {
  const last = state.lastAnswer === null ? "" : clock(state.lastAnswer / 1000);
  switch (state.name) {
    case "live":
      return `Live, ${last}`;
    case "paused":
      return `Paused, ${last}`;
    case "silent":
      return state.age === null ? "No answer" : `No answer for ${duration(state.age)}`;
    case "locked":
      return "Locked";
    default:
      return "Connecting";
  }
}

/** Show nothing of what was known. */
function forget() {
  data = null;
  part("nodes").replaceChildren();
  showNothing();
}

function askForToken(reason) {
  setText(part("token-reason"), reason);
  if (part("token").hidden) requestAnimationFrame(() => part("token-value").focus());
}

part("token").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = part("token-value").value.trim();
  part("token-value").value = "";
  if (token) connection.useToken(token);
});

part("forget").addEventListener("click", () => {
  forget();
  connection.useToken(null);
});

for (const choice of document.querySelectorAll("input[name=minutes]")) {
  choice.addEventListener("change", () => plots.setMinutes(Number(choice.value)));
  // A browser that restores the page restores the choice without an event.
  if (choice.checked) plots.setMinutes(Number(choice.value));
}

connection.run();
