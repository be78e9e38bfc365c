/** Numbers, sizes and times as people read them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const THREE_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

/** 12,345. */
export function whole(value) {
  return WHOLE.format(value);
}

/** Three digits that matter below a thousand, whole above: 0.123, 12.3, 1,234. */
export function number(value) {
  return Math.abs(value) < 1000 ? THREE_DIGITS.format(value) : WHOLE.format(value);
}

/** 0.8 ms, 12.3 ms, 1.2 s. */
export function milliseconds(value) {
  return value < 1000 ? `${number(value)} ms` : `${number(value / 1000)} s`;
}

/** 512 B, 1.5 MiB. */
export function bytes(value) {
  let power = 0;
  while (Math.abs(value) >= 1024 && power < SIZES.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${number(value)} ${SIZES[power]}`;
}

/** 12 s, 3 min, 5 h 12 min, 2 d 4 h. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 120) return `${s} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** 14:03:22, in the browser's time zone. */
export function clock(epochSeconds) {
  return CLOCK.format(epochSeconds * 1000);
}

/** 14:03. */
export function shortClock(epochSeconds) {
  return SHORT_CLOCK.format(epochSeconds * 1000);
}

/** The time, after the day when that is another than `nowSeconds`': 14:03:22, 3 Nov 14:03:22. */
export function moment(epochSeconds, nowSeconds) {
  const day = DAY.format(epochSeconds * 1000);
  const time = clock(epochSeconds);
  return day === DAY.format(nowSeconds * 1000) ? time : `${day} ${time}`;
}

/** One word for one, another for more: 1 session, 2 sessions. */
export function counted(count, one, more = `${one}s`) {
  return `${whole(count)} ${count === 1 ? one : more}`;
}
