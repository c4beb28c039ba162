/** Says how sure a model is of its answer, in the words of mmkd_tf/edge/remarks.py. */

const SURE = 0.9;
const FAIRLY_SURE = 0.5;
const OPEN = 0.15; // of labels, how near to the threshold
const LISTED = 8;

/**
 * @param {{name: string, figure: number, isGiven: boolean}[]} rows Of `Model.predict`.
 * @param {string} kind Of the model.
 * @param {{threshold: ?number, temperature: ?number}} file
 * @returns {string} A sentence; empty where the figures are no probabilities.
 */
export function remarkOn(rows, kind, { threshold, temperature }) {
  if (kind !== "classes" && kind !== "labels") return "";
  const isCalibrated = temperature !== null;
  const said = kind === "classes" ? ofClass(rows, isCalibrated) : ofLabels(rows, threshold);
  return isCalibrated ? said : `${said} (The probabilities of this file are not calibrated.)`;
}

function ofClass([{ name, figure }, ...others], isCalibrated) {
  // Not "100 of 100", which no model is on what it has not seen.
  const share = Math.min(Math.max(Math.round(100 * figure), 1), 99);
  const means = isCalibrated ? `: about ${share} of 100 such answers are right` : "";
  if (figure >= SURE) return `It is sure${means}.`;
  if (figure >= FAIRLY_SURE) return `It is fairly sure${means}.`;
  const likely = others.filter((other) => other.figure >= figure / 2).slice(0, LISTED / 2);
  const names = likely.map((other) => other.name).join(" or ");
  return `It is NOT sure that this is ${name}${means}.${names && ` It may as well be ${names}.`}`;
}

function ofLabels(rows, threshold) {
  const near = rows.filter(({ figure }) => Math.abs(figure - threshold) <= OPEN);
  const said = rows.some(({ isGiven }) => isGiven) ? "" : "It gives none of the labels. ";
  if (!near.length) return `${said}It is fairly sure of each label.`;
  const names = near.slice(0, LISTED).map(({ name }) => name);
  const more = near.length > LISTED ? ` and ${near.length - LISTED} more` : "";
  return `${said}It is NOT sure about ${names.join(", ")}${more}: probability near ${threshold}.`;
}
