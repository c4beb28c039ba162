/** Writes onto the page; all texts from files go in as text, never as HTML. */

import { PageError } from "./model_file.js";

const FEW = 6;

const find = (id) => document.getElementById(id);
const percent = (probability) => `${(100 * probability).toFixed(1)} %`;
const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/** Shows what the model takes and gives. */
export function showAbout(classifier) {
  const { image, text, classNames, numBytes, credits } = classifier;
  const title = image && text ? "Picture and text" : image ? "Picture" : "Text";
  document.title = `${title} classifier`;
  find("title").textContent = document.title;
  const size = count(Math.ceil(numBytes / 1024), "KiB", "KiB");
  const facts = [count(classNames.length, "class", "classes"), size, ...credits].join(", ");
  find("about").textContent =
    `${facts}. The model runs in this browser: what you give it stays on this device.`;
  find("picture").hidden = !image;
  find("text").hidden = !text;
  find("main").hidden = false;
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
export function showText(text, classifier) {
  if (!classifier.text) return;
  const { length, isBytes, isUnreadable } = classifier.text;
  const words = classifier.words(text);
  const numRead = isBytes ? words.length : length;
  find("clear").hidden = text === "";
  find("words-field").disabled = isUnreadable;
  find("words").replaceChildren(
    ...words.map(({ word, known }, i) =>
      element("span", word, i >= numRead ? "cut" : known ? "" : "unknown"),
    ),
  );
  const numBytes = new TextEncoder().encode(text).length;
  const notes = [wordNote(text, words.slice(0, numRead))];
  if (isUnreadable) notes.push("This model was exported without its vocabulary: it reads no text.");
  if (isBytes && numBytes > length) notes.push(`Only the first ${length} bytes count.`);
  if (!isBytes && words.length > length) notes.push(`Only the first ${length} words count.`);
  find("note").textContent = notes.filter(Boolean).join(" ");
}

function wordNote(text, words) {
  const numUnknown = words.filter(({ known }) => !known).length;
  if (!words.length) return text.trim() && "This text has no words.";
  if (numUnknown === words.length) return "The model knows none of these words.";
  return numUnknown && `${count(numUnknown, "word")} that the model does not know.`;
}

/** Shows the classes with their probabilities, and the time; or what to do, without an answer. */
export function showAnswer(answer, classifier) {
  const first = find("first");
  if (answer === null) {
    first.replaceChildren(invitation(classifier));
    find("classes").replaceChildren();
    find("more").hidden = true;
    find("time").textContent = "";
    return;
  }
  const { classes, milliseconds, numCalls } = answer;
  first.replaceChildren(element("strong", classes[0].name));
  find("classes").replaceChildren(...classes.map(classRow));
  find("more").hidden = classes.length <= FEW;
  hideClasses();
  const digits = milliseconds < 10 ? 2 : 0;
  find("time").textContent =
    `${milliseconds.toFixed(digits)} ms a call of the model (mean of ${numCalls})`;
}

function invitation({ image, text }) {
  if (!text || text.isUnreadable) return image ? "Give a picture." : "There is nothing to try.";
  return image ? "Give a picture, a text or both." : "Give a text.";
}

function classRow({ name, probability }) {
  const row = document.createElement("li");
  const value = element("data", percent(probability));
  value.value = probability;
  const bar = element("div", "", "bar");
  bar.append(document.createElement("i"));
  bar.firstChild.style.width = percent(probability).replace(" ", "");
  row.append(element("span", name, "name"), value, bar);
  return row;
}

let showsAll = false;

/** Shows all classes, or the most probable ones only. */
export function toggleClasses() {
  showsAll = !showsAll;
  hideClasses();
}

function hideClasses() {
  const rows = [...find("classes").children];
  rows.forEach((row, i) => (row.hidden = !showsAll && i >= FEW));
  find("more").textContent = showsAll ? "Show fewer" : `Show all ${rows.length} classes`;
}
