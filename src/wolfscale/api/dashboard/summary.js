/** The first thing to see: can the cluster take writes, who leads, what is wrong and what to do. */

import { element, setAttribute, setText, shape, showList, showPairs } from "./dom.js";
import { clock, counted, duration, whole } from "./format.js";

const SEVERITIES = { error: "Error", warning: "Warning", info: "Note" };

/** Show the cluster's state as the node sees it. */
export function showVerdict(data) {
  const { cluster } = data;
  const majority = Math.floor(cluster.voters / 2) + 1;
  const [look, headline] = verdict(cluster, majority);
  present(look, headline, `As ${data.node} sees it.`);
  const spare = cluster.alive_voters - majority;
  showPairs(document.getElementById("verdict-facts"), [
    ["Leader", cluster.leader?.name ?? "none"],
    ["Term", whole(cluster.term)],
    ["Voters alive", `${cluster.alive_voters} of ${cluster.voters}`],
    ["May still fail", spare > 0 ? counted(spare, "voter") : "none"],
    ["Committed log entries", whole(cluster.commit_index)],
  ]);
}

function verdict(cluster, majority) {
  const leader = cluster.leader?.name;
  if (cluster.writable && leader) return ["good", `The cluster takes writes, ${leader} leads`];
  if (cluster.alive_voters < majority) {
    return ["error", `No writes: ${cluster.alive_voters} of ${cluster.voters} voters alive, ${majority} needed`];
  }
  if (!leader) return ["error", "No writes: the voters are electing a leader"];
  const state = cluster.members.find((member) => member.id === cluster.leader.id)?.database.state;
  return ["error", `No writes yet: ${leader} leads, its MariaDB is not ready (${state ?? "unknown"})`];
}

/** Show that nothing is known yet, or no longer. */
export function showNothing() {
  present("plain", "Asking the node", "");
  showPairs(document.getElementById("verdict-facts"), []);
  setText(document.getElementById("announcement"), "");
}

/**
 * Show that the node does not answer, and where to go instead.
 *
 * @param state the connection's.
 * @param data the last answer; null before the first.
 */
export function showSilence(state, data) {
  const name = data?.node ?? "This node";
  const since = state.lastAnswer === null ? "" : ` since ${clock(state.lastAnswer / 1000)} (${duration(state.age)})`;
  const others = (data?.status.members ?? []).filter((member) => member.id !== data.status.id && member.api_url);
  const links = others.flatMap((member) => [" ", memberLink(member)]);
  present(
    "error",
    `${name} does not answer`,
    `No data${since}: ${state.reason || "nothing came"}. ` +
      (data === null ? "" : "Below is what it said last; the cluster may be well without it. ") +
      `This page goes on trying. Open another node’s${links.length ? ":" : "."}`,
    links,
  );
}

function present(look, headline, detail, links = []) {
  const section = document.getElementById("verdict");
  setAttribute(section, "data-look", look);
  setAttribute(document.getElementById("verdict-shape"), "href", `#shape-${look === "plain" ? "info" : look}`);
  setText(document.getElementById("verdict-headline"), headline);
  const paragraph = document.getElementById("verdict-detail");
  const key = JSON.stringify([detail, links.map((link) => link.href ?? link)]);
  if (paragraph.dataset.key !== key) {
    paragraph.dataset.key = key;
    paragraph.replaceChildren(detail, ...links);
  }
}

/** A link to a member's page; only a plain http or https address becomes one. */
export function memberLink(member) {
  const safe = /^https?:\/\/[^/]+$/.test(member.api_url);
  return element("a", { href: safe ? `${member.api_url}/` : null }, member.name);
}

/** Show what is wrong; says so too when nothing is. */
export function showFindings(findings) {
  const none = { severity: "good", what: "Nothing is wrong.", next_step: "" };
  showList(
    document.getElementById("findings"),
    findings.length ? findings : [none],
    // Figures in a text change from second to second: the place in the list keeps the element.
    (finding) => `${finding.severity} ${(findings.length ? findings : [none]).indexOf(finding)}`,
    (finding) =>
      element(
        "li",
        { "data-look": finding.severity },
        shape(finding.severity),
        element("strong", { class: "severity" }, SEVERITIES[finding.severity] ?? "Good"),
        element("p", { class: "what" }),
        element("p", { class: "next" }),
      ),
    (item, finding) => {
      setText(item.querySelector(".what"), finding.what);
      setText(item.querySelector(".next"), finding.next_step);
    },
  );
}

/** Tell a screen reader what changed: the verdict and how much is wrong (null: not known), not each figure. */
export function announce(findings) {
  const headline = document.getElementById("verdict-headline").textContent;
  const count = (severity) => findings.filter((finding) => finding.severity === severity).length;
  const wrong =
    findings === null ? "" : ` ${counted(count("error"), "error")}, ${counted(count("warning"), "warning")}.`;
  setText(document.getElementById("announcement"), `${headline}.${wrong}`);
}
