/** Writes onto the page; all texts from files go in as text, never as HTML. */

import { PageError } from "./model_file.js";

const FEW = 6;
const MOST_NAMED = 20;

const find = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** By what a model gives: what the page is called, what it gives figures of, how they look. */
const KINDS = {
  classes: { title: "classifier", names: ["class", "classes"], figure: percent },
  labels: { title: "labels", names: ["label", "labels"], figure: percent },
  values: { title: "estimate", names: ["number", "numbers"], figure: shortNumber },
  matches: { title: "search", names: ["candidate", "candidates"], figure: (x) => x.toFixed(3) },
};

function shortNumber(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 6, useGrouping: false });
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Shows what the model takes and gives. */
export function showAbout({ image, text, sounds, series, kind, names, numBytes, credits }) {
  const signals = [sounds.length && "sound", series.length && "series"];
  const parts = [image && "picture", text && "text", ...signals];
  const title = parts.filter(Boolean).join(" and ");
  document.title = `${title[0].toUpperCase()}${title.slice(1)} ${KINDS[kind].title}`;
  find("title").textContent = document.title;
  const size = count(Math.ceil(numBytes / 1024), "KiB", "KiB");
  const facts = `${count(names.length, ...KINDS[kind].names)}, ${size}`;
  find("about").textContent =
    `${facts}. The model runs in this browser: what you give it stays on this device.` +
    (kind === "matches" ? "" : ` Its ${KINDS[kind].names[1]}: ${listed(names)}.`);
  find("credits").textContent = credits.length ? `The model: ${credits.join(", ")}.` : "";
  find("picture").hidden = !image;
  find("text").hidden = !text;
  find("main").hidden = false;
}

function listed(names) {
  const more = names.length - MOST_NAMED;
  const first = names.slice(0, MOST_NAMED).join(", ");
  return more > 0 ? `${first} and ${more.toLocaleString("en")} more` : first;
}

/** Says why the page can't go on. */
export function showFailure(error) {
  console.error(error);
  find("about").textContent = "";
  find("failure").textContent =
    error instanceof PageError
      ? error.message
      : `The model failed (${String(error?.message ?? error).slice(0, 200)}). Reload the page.`;
}

/** Shows a picture and what the model sees of it; or none, and the problem with it. */
export function showPicture({ file, pixels, size, problem }) {
  const photo = find("photo");
  URL.revokeObjectURL(photo.src);
  photo.removeAttribute("src");
  if (file) {
    photo.src = URL.createObjectURL(file);
    draw(pixels, size);
  }
  find("preview").hidden = find("remove").hidden = !file;
  find("invitation").hidden = Boolean(file);
  find("picture-problem").textContent = problem;
}

/** Shows pictures to try, as buttons; `take` is called with the file of one. */
export function showSamples({ pictures, credit }, take) {
  find("samples").hidden = pictures.length === 0;
  find("samples-credit").textContent = credit;
  find("sample-list").replaceChildren(
    ...pictures.map(({ file, name }) => {
      const button = element("button", "");
      const picture = document.createElement("img");
      Object.assign(picture, { src: file, alt: `Try ${name}` });
      button.type = "button";
      button.title = name;
      button.append(picture);
      button.addEventListener("click", () => take(file));
      return button;
    }),
  );
}

/** Shows what the camera sees, or takes it away and offers the camera if there may be one. */
export function showFinder(isOpen, hasCamera) {
  find("finder").hidden = !isOpen;
  find("camera").hidden = isOpen || !hasCamera;
  find("drop").hidden = isOpen;
}

/** Says what is wrong with a picture or the camera. */
export function showProblem(problem) {
  find("picture-problem").textContent = problem;
}

function draw(pixels, { height, width }) {
  const canvas = find("pixels");
  Object.assign(canvas, { height, width });
  const data = new ImageData(width, height);
  for (let i = 0; i < height * width; i += 1) {
    data.data.set([pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2], 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  find("pixels-size").textContent = `seen as ${width} × ${height}`;
}

/** Shows the words of a text: those that the model knows, those that it does not. */
export function showText(text, model) {
  if (!model.text) return;
  const { mostWords, isUnreadable } = model.text;
  const words = model.words(text);
  const numRead = model.numRead(text);
  find("clear").hidden = text === "";
  find("words-field").disabled = isUnreadable;
  find("words").replaceChildren(
    ...words.map(({ word, known }, i) =>
      element("span", word, i >= numRead ? "cut" : known ? "" : "unknown"),
    ),
  );
  const notes = [wordNote(text, words.slice(0, numRead))];
  if (isUnreadable) notes.push("This model was exported without its vocabulary: it reads no text.");
  if (words.length > numRead) {
    const only = numRead < mostWords ? "The model lacks room for the rest: only" : "Only";
    notes.push(`${only} the first ${count(numRead, "word counts", "words count")}.`);
  }
  find("note").textContent = notes.filter(Boolean).join(" ");
}

function wordNote(text, words) {
  const numUnknown = words.filter(({ known }) => !known).length;
  if (!words.length) return text.trim() && "This text has no words.";
  if (numUnknown === words.length) return "The model knows none of these words.";
  return numUnknown && `${count(numUnknown, "word")} that the model does not know.`;
}

/** Shows names with their figures, and the time; or what to do, without an answer. */
export function showAnswer(answer, model) {
  const first = find("first");
  find("remark").textContent = answer?.remark ?? "";
  if (answer === null) {
    first.replaceChildren(invitation(model));
    find("rows").replaceChildren();
    find("more").hidden = true;
    find("time").textContent = "";
    return;
  }
  const { rows, milliseconds, numCalls } = answer;
  // Of several numbers the list says it to the eye.
  const isListed = model.kind === "values" && rows.length > 1;
  const short = inShort(rows, model.kind);
  first.replaceChildren(isListed ? element("span", short, "unseen") : element("strong", short));
  find("rows").replaceChildren(...rows.map((row) => rowElement(row, model.kind)));
  find("more").hidden = rows.length <= FEW;
  showSome();
  const digits = milliseconds < 10 ? 2 : 0;
  find("time").textContent =
    `${milliseconds.toFixed(digits)} ms a call of the model (mean of ${numCalls})`;
}

function invitation({ image, text, sounds, series }) {
  const isReadable = text && !text.isUnreadable;
  const parts = [image && "a picture", isReadable && "a text"];
  parts.push(...[...sounds, ...series].map(({ name }) => name));
  const wanted = parts.filter(Boolean);
  if (!wanted.length) return "There is nothing to try.";
  if (wanted.length === 1) return `Give ${wanted[0]}.`;
  return `Give ${wanted.join(", ")} or ${wanted.length === 2 ? "both" : "several"}.`;
}

/** The answer in one line. */
function inShort(rows, kind) {
  const figure = ({ figure }) => KINDS[kind].figure(figure);
  if (kind === "values" && rows.length === 1) return figure(rows[0]);
  if (kind === "values") return rows.map((row) => `${row.name}: ${figure(row)}`).join("; ");
  const given = rows.filter(({ isGiven }) => isGiven).map(({ name }) => name);
  return given.join(", ") || "None of the labels";
}

function rowElement({ name, figure, isGiven }, kind) {
  const row = document.createElement("li");
  row.className = isGiven ? "given" : "";
  const value = element("data", KINDS[kind].figure(figure));
  value.value = figure;
  const label = element("span", name, "name");
  // Not by colour alone.
  if (kind === "labels" && isGiven) label.append(" ", element("span", "given", "tag"));
  row.append(label, value);
  if (kind === "values") return row;
  const bar = element("div", "", "bar");
  bar.append(document.createElement("i"));
  bar.firstChild.style.width = `${100 * Math.max(0, figure)}%`;
  row.append(bar);
  return row;
}

let showsAll = false;

/** Shows all rows, or the first ones only. */
export function toggleRows() {
  showsAll = !showsAll;
  showSome();
}

function showSome() {
  const rows = [...find("rows").children];
  rows.forEach((row, i) => (row.hidden = !showsAll && i >= FEW));
  find("more").textContent = showsAll ? "Show fewer" : `Show all ${rows.length}`;
  find("more").setAttribute("aria-expanded", showsAll);
}
