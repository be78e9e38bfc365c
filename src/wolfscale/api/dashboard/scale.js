/** Axes: from values to ticks that people count in. Pure. */

const STEPS = [1, 2, 5, 10];
const BINARY_STEPS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
const TIME_STEPS_SECONDS = [5, 10, 20, 30, 60, 120, 300, 600];

/**
 * Ticks from 0 up to the first one that is not below any value.
 *
 * @param highest the largest value.
 * @param options.least what the axis shows at least, so that noise does not look like mountains.
 * @param options.count about how many intervals.
 * @param options.binary steps of powers of two, for bytes.
 * @param options.integer nothing between two whole numbers.
 */
export function valueTicks(highest, { least = 1, count = 3, binary = false, integer = false } = {}) {
  const top = Math.max(highest, least);
  let step = binary ? binaryStep(top / count) : decimalStep(top / count);
  if (integer) step = Math.max(1, step);
  const ticks = [];
  for (let index = 0; ticks.length === 0 || ticks.at(-1) < top; index += 1) {
    // A multiplication for each: sums of tenths drift.
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return ticks;
}

function decimalStep(raw) {
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  return STEPS.find((step) => step * magnitude >= raw * (1 - 1e-9)) * magnitude;
}

function binaryStep(raw) {
  const magnitude = 1024 ** Math.max(0, Math.floor(Math.log2(raw) / 10));
  return (BINARY_STEPS.find((step) => step * magnitude >= raw) ?? 1024) * magnitude;
}

/** Round moments (whole minutes, where they fit) between two, at most `count` of them. */
export function timeTicks(startSeconds, endSeconds, count) {
  const span = endSeconds - startSeconds;
  const step = TIME_STEPS_SECONDS.find((seconds) => span / seconds <= count) ?? TIME_STEPS_SECONDS.at(-1);
  const ticks = [];
  for (let tick = Math.ceil(startSeconds / step) * step; tick <= endSeconds; tick += step) ticks.push(tick);
  return ticks;
}

/** The largest of the values that are there; 0 without any. */
export function highest(values) {
  let found = 0;
  for (const value of values) if (value !== null && value > found) found = value;
  return found;
}
