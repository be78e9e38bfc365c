/**
 * Asks the node once a second while somebody looks, and says how that goes.
 *
 * States: `connecting` before the first answer, `live`, `paused` while the page is hidden, `silent` when no
 * answer came for a while, `locked` while the node wants a token.
 */

const INTERVAL_MS = 1000;
const LONGEST_PAUSE_MS = 10_000;
const ANSWER_WITHIN_MS = 5000;
// One late answer is no alarm, three missed ones are.
const SILENT_AFTER_MS = 3000;
const TOKEN_KEY = "wolfscale-token";

/** The node wants a token, or another one. */
class TokenWanted extends Error {}

export class Connection {
  #url;
  #onData;
  #onState;
  #failures = 0;
  #reason = "";
  #lockedBecause = null;
  #lastAnswer = null;
  #waitingSince = performance.now();
  #stopWaiting = () => {};

  /**
   * @param url what is asked.
   * @param options.onData gets each answer.
   * @param options.onState gets `{name, reason, lastAnswer, age}` at each change and at least once a second:
   *   why there is none, when the last answer came (a `Date`, null before the first), how many seconds ago.
   */
  constructor(url, { onData, onState }) {
    this.#url = url;
    this.#onData = onData;
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
    addEventListener("online", () => this.askNow());
    setInterval(() => this.#tell(), INTERVAL_MS);
  }

  /** Whether this tab keeps a token. */
  get hasToken() {
    return sessionStorage.getItem(TOKEN_KEY) !== null;
  }

  /** Keep a token until the tab is closed, and ask with it; null forgets it. */
  useToken(token) {
    if (token === null) sessionStorage.removeItem(TOKEN_KEY);
    else sessionStorage.setItem(TOKEN_KEY, token);
    this.#lockedBecause = null;
    this.askNow();
  }

  /** Ask at once, however long the pause would still be. */
  askNow() {
    this.#failures = 0;
    this.#stopWaiting();
  }

  /** Ask for ever. */
  async run() {
    for (;;) {
      if (document.hidden || this.#lockedBecause !== null) await this.#wait(Infinity);
      else await this.#wait(await this.#turn());
    }
  }

  /** Ask once; returns for how long to wait then. */
  async #turn() {
    const started = performance.now();
    try {
      this.#show(await this.#ask());
      this.#failures = 0;
      this.#reason = "";
      this.#lastAnswer = { date: new Date(), at: performance.now() };
    } catch (error) {
      if (error instanceof TokenWanted) this.#lockedBecause = error.message;
      this.#reason = error.message;
      this.#failures += 1;
    }
    this.#tell();
    return pauseAfter(this.#failures) - (performance.now() - started);
  }

  #show(data) {
    try {
      this.#onData(data);
    } catch (error) {
      console.error(error);
      throw new Error(`its answer cannot be shown (${error.message}); reload this page`);
    }
  }

  async #ask() {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const response = await fetch(this.#url, {
      headers: token === null ? {} : { Authorization: `Bearer ${token}` },
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    }).catch((error) => {
      throw new Error(error.name === "TimeoutError" ? "it took too long" : "it cannot be reached");
    });
    if (response.status === 401 || response.status === 403) {
      sessionStorage.removeItem(TOKEN_KEY);
      throw new TokenWanted(token === null ? "" : `The token was refused: ${await problem(response)}`);
    }
    if (!response.ok) throw new Error(await problem(response));
    return response.json().catch(() => {
      throw new Error("its answer broke off");
    });
  }

  #wait(milliseconds) {
    return new Promise((resolve) => {
      this.#stopWaiting = resolve;
      if (milliseconds < Infinity) setTimeout(resolve, Math.max(0, milliseconds));
    });
  }

  #onVisibility() {
    // What was not asked is not missing.
    this.#waitingSince = performance.now();
    if (!document.hidden) this.askNow();
    this.#tell();
  }

  #tell() {
    const now = performance.now();
    const last = this.#lastAnswer;
    this.#onState({
      name: this.#stateName(now),
      reason: this.#lockedBecause ?? this.#reason,
      lastAnswer: last?.date ?? null,
      age: last === null ? null : (now - last.at) / 1000,
    });
  }

  #stateName(now) {
    if (this.#lockedBecause !== null) return "locked";
    if (document.hidden) return "paused";
    if (now - Math.max(this.#waitingSince, this.#lastAnswer?.at ?? 0) > SILENT_AFTER_MS) return "silent";
    return this.#lastAnswer === null ? "connecting" : "live";
  }
}

/** Milliseconds between two requests after so many failures in a row. */
export function pauseAfter(failures) {
  return Math.min(INTERVAL_MS * 2 ** Math.max(0, failures - 1), LONGEST_PAUSE_MS);
}

/** What an answer that is no success says of itself. */
async function problem(response) {
  const body = await response.json().catch(() => null);
  return body?.message ?? `HTTP status ${response.status}`;
}
