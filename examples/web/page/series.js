/** Reads series of sensors as the numbers that models take, as mmkd_tf/edge/series.py does. */

import { PageError } from "./model_file.js";

const DELIMITERS = [",", ";", "\t"];
const NO_NUMBER = ["", "nan"];
// A step is known if a measured one is nearer than this share of the usual distance of two.
const NEAR = 0.9;

/**
 * Reads a series from text: lists as JSON, an object of columns, or CSV with a column a channel.
 *
 * @param {string} text
 * @param {{length: number, channels: number, names: ?string[], time: ?string}} form Steps and
 *     channels of the result, names of the channels' columns and of that of times, if there are.
 * @returns {{values: Float32Array, steps: number}} `length` x (`channels` + 1) numbers, each step
 *     followed by a 1 if it is known, all zeros without a number; the steps that were read.
 */
export function readSeries(text, { length, channels, names, time }) {
  const { rows, times } = parse(text.trim(), names, time);
  const odd = rows.findIndex((row) => row.length !== channels);
  if (!rows.length || odd >= 0) {
    const found = rows.length ? `Step ${odd} (from 0) has ${rows[odd].length}.` : "It has none.";
    throw new PageError(`A series of ${channels} numbers a step is wanted. ${found}`);
  }
  if (rows.some((row) => row.some((value) => Math.abs(Math.fround(value)) === Infinity))) {
    throw new PageError("This series has an infinite number. Leave out what was not measured.");
  }
  const width = channels + 1;
  const values = new Float32Array(length * width);
  if (rows.some((row) => row.some((value) => !Number.isNaN(value)))) {
    resized(regular(rows, times), length).forEach((column, i) =>
      column.forEach((value, step) => (values[step * width + i] = value)),
    );
  }
  return { values, steps: rows.length };
}

/** Steps of numbers, NaN where there is none, and their times or null. */
function parse(text, names, time) {
  if (!text) return { rows: [], times: null };
  if (text[0] === "[" || text[0] === "{") {
    let read;
    try {
      read = JSON.parse(text.replace(/\bNaN\b/g, "null"));
    } catch (error) {
      throw new PageError(`This is no JSON: ${error.message}`);
    }
    if (!Array.isArray(read)) return fromColumns(read, names, time);
    const rows = read.map((step) => (Array.isArray(step) ? step : [step]).map(toNumber));
    return { rows, times: null };
  }
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  const count = (mark) => lines[0].split(mark).length;
  const delimiter = DELIMITERS.reduce((best, mark) => (count(mark) > count(best) ? mark : best));
  const cells = lines.map((line) =>
    line.split(delimiter).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1")),
  );
  if (cells[0].every(isNumber)) return { rows: cells.map((row) => row.map(toNumber)), times: null };
  const [header, ...body] = cells;
  const columns = header.map((name, i) => [name, body.map((row) => row[i] ?? "")]);
  return fromColumns(Object.fromEntries(columns), names, time);
}

function fromColumns(columns, names, time) {
  const wanted = names ?? Object.keys(columns).filter((name) => name !== time);
  const missing = [...wanted, ...(time ? [time] : [])].filter((name) => !(name in columns));
  if (missing.length) {
    const there = Object.keys(columns).join(", ");
    throw new PageError(`This series has no column ${missing.join(", ")} among ${there}.`);
  }
  const numbers = wanted.map((name) => columns[name].map(toNumber));
  const steps = Math.max(0, ...numbers.map((column) => column.length));
  const rows = Array.from({ length: steps }, (_, i) => numbers.map((column) => column[i] ?? NaN));
  return { rows, times: time ? columns[time].map(toTime) : null };
}

const isEmpty = (cell) => cell === null || NO_NUMBER.includes(String(cell).trim().toLowerCase());
const isNumber = (cell) => isEmpty(cell) || !Number.isNaN(Number(cell));

function toNumber(cell) {
  if (!isNumber(cell) || typeof cell === "object" && cell !== null) {
    throw new PageError(`“${String(cell).slice(0, 40)}” in this series is no number.`);
  }
  return isEmpty(cell) ? NaN : Number(cell);
}

const toTime = (cell) => (isNumber(cell) ? toNumber(cell) : Date.parse(cell) / 1000);

/** By channel numbers at evenly spaced times, and last whether a step is known. */
function regular(rows, times) {
  const places = times ?? rows.map((_, i) => i);
  if (places.length !== rows.length || !places.every(Number.isFinite)) {
    throw new PageError("A step of this series has no time.");
  }
  const back = places.findIndex((place, i) => place < places[i - 1]);
  if (back >= 0) throw new PageError(`The time of this series goes back at step ${back} (from 0).`);
  const [first, last] = [places[0], places.at(-1)];
  const even = spread(first, last, rows.length);
  if (rows.length > 1 && first === last) {
    throw new PageError("All steps of this series are of one time.");
  }
  const columns = rows[0].map((_, channel) => {
    const known = [...rows.keys()].filter((i) => !Number.isNaN(rows[i][channel]));
    if (!known.length) throw new PageError(`Channel ${channel} (from 0) of this series is empty.`);
    const numbers = known.map((i) => rows[i][channel]);
    return interpolated(even, known.map((i) => places[i]), numbers);
  });
  const measured = places.filter((_, i) => rows[i].some((value) => !Number.isNaN(value)));
  let after = 0;
  const distances = even.map((place) => {
    while (after < measured.length - 1 && measured[after] < place) after += 1;
    const before = measured[Math.max(after - 1, 0)];
    return Math.min(Math.abs(place - measured[after]), Math.abs(place - before));
  });
  const reach = (NEAR * (last - first)) / Math.max(rows.length - 1, 1);
  const least = distances.reduce((a, b) => Math.min(a, b));
  const nearest = distances.indexOf(least); // is known in any case
  const isKnown = (i) => (least <= reach ? distances[i] <= reach : i === nearest);
  return [...columns, even.map(() => 1)].map((column) =>
    column.map((value, i) => (isKnown(i) ? Math.fround(value) : 0)),
  );
}

/** Fewer steps are means of what they cover, more lie on lines; unknown ones don't count. */
function resized(columns, length) {
  const steps = columns[0].length;
  if (steps === length) return columns;
  const old = Array.from({ length: steps + 1 }, (_, i) => i);
  const made = columns.map((column) => {
    if (steps < length) return interpolated(spread(0, steps - 1, length), old.slice(0, -1), column);
    const sums = [0];
    for (const value of column) sums.push(sums.at(-1) + value);
    const ends = interpolated(spread(0, steps, length + 1), old, sums);
    return ends.slice(1).map((end, i) => end - ends[i]);
  });
  const marks = made.at(-1);
  const shares = marks.map((mark) => mark / Math.max(steps / length, 1));
  const least = Math.min(0.5, shares.reduce((a, b) => Math.max(a, b)));
  return made.map((column) =>
    column.map((value, i) => (shares[i] >= least ? value / marks[i] : 0)),
  );
}

/** Numbers at equal distances from the first to the last, as NumPy's `linspace`. */
function spread(first, last, size) {
  const step = (last - first) / Math.max(size - 1, 1);
  return Array.from({ length: size }, (_, i) =>
    i === size - 1 && i > 0 ? last : i * step + first,
  );
}

/** Numbers on the lines between others, as NumPy's `interp`. */
function interpolated(at, places, numbers) {
  let next = 0; // the first place behind; `at` and `places` rise
  return at.map((place) => {
    while (next < places.length && places[next] <= place) next += 1;
    const before = next - 1;
    if (before < 0) return numbers[0];
    if (next === places.length || places[before] === place) return numbers[before];
    const slope = (numbers[next] - numbers[before]) / (places[next] - places[before]);
    return slope * (place - places[before]) + numbers[before];
  });
}
