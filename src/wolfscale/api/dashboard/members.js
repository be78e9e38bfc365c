/** The table of members, and the links to their pages. */

import { element, setAttribute, setText, shape, showList } from "./dom.js";
import { bytes, whole } from "./format.js";
import { memberLink } from "./summary.js";

const COLUMNS = ["name", "role", "database", "lag", "applied", "missing", "address"];
const LABELS = { role: "Role", database: "MariaDB", lag: "Lag", applied: "Applied", missing: "Log missing", address: "Peer" };
const NUMBERS = new Set(["lag", "applied", "missing"]);
const UNKNOWN = "–";

/** node-2 comes before node-10. */
function byName(members) {
  const order = new Intl.Collator("en", { numeric: true });
  return members.toSorted((one, other) => order.compare(one.name, other.name));
}

/** Show all members. */
export function showMembers(status) {
  setAttribute(document.getElementById("members"), "data-role", status.role);
  showList(
    document.querySelector("#members tbody"),
    byName(status.members),
    (member) => member.id,
    () => element("tr", { role: "row" }, ...COLUMNS.map(makeCell)),
    (row, member) => updateRow(row, member, status),
  );
}

function makeCell(column) {
  const head = column === "name";
  return element(head ? "th" : "td", {
    scope: head ? "row" : null,
    role: head ? "rowheader" : "cell",
    class: NUMBERS.has(column) ? `${column} number` : column,
    "data-label": LABELS[column] ?? null,
  });
}

function updateRow(row, member, status) {
  const cell = Object.fromEntries(COLUMNS.map((column, index) => [column, row.children[index]]));
  const own = member.id === status.id;
  const leads = member.id === status.leader?.id;
  const applies = member.suffrage !== "witness";
  setAttribute(row, "data-alive", member.alive);
  setText(cell.name, own ? `${member.name} (this node)` : member.name);
  showRole(cell.role, member, roleOf(member, leads, own, status));
  setText(cell.database, member.alive ? databaseText(member.database) : `${member.database.state}, when last heard`);
  setText(cell.lag, applies && member.alive ? whole(member.applied.lag_groups) : UNKNOWN);
  setText(cell.applied, applies ? whole(member.applied.sequence) : UNKNOWN);
  setText(cell.missing, whole(Math.max(0, status.log.last_index - member.match_index)));
  setText(cell.address, member.address);
}

function roleOf(member, leads, own, status) {
  if (leads) return member.writable ? "leader, takes writes" : "leader";
  if (own) return status.role;
  return member.suffrage === "voter" ? "follower" : member.suffrage;
}

function showRole(cell, member, role) {
  const look = member.alive ? (role.startsWith("leader") ? "good" : "plain") : "error";
  const text = member.alive ? role : `not heard from (${member.suffrage})`;
  const key = `${look} ${text}`;
  if (cell.dataset.shown === key) return;
  cell.dataset.shown = key;
  cell.replaceChildren(
    element("span", { class: "chip", "data-look": look }, look === "plain" ? null : shape(look), text),
  );
}

function databaseText(database) {
  const clone = database.clone;
  if (clone) return `${database.state}: ${clone.phase} ${bytes(clone.received_bytes)} from ${clone.donor}`;
  return database.reason ? `${database.state}: ${database.reason}` : database.state;
}

/** Show the way to every member's page; this node's own is marked. */
export function showNodes(status) {
  showList(
    document.getElementById("nodes"),
    byName(status.members).filter((member) => member.id === status.id || member.api_url),
    (member) => `${member.id} ${member.api_url}`,
    (member) => element("li", {}, member.id === status.id ? ownNode(member) : memberLink(member)),
    () => {},
  );
}

function ownNode(member) {
  return element("a", { "aria-current": "page" }, member.name);
}
