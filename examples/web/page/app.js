/** The page: takes a picture and a text, shows what the model makes of them. */

import { loadClassifier } from "./classifier.js";
import { PageError } from "./model_file.js";
import { readPicture } from "./picture.js";
import * as view from "./view.js";

const find = (id) => document.getElementById(id);
const [drop, file, field] = ["drop", "file", "words-field"].map(find);

let classifier;
let pixels = null; // of the picture, as the model takes them
let newest = null; // the picture chosen last: it may be read sooner than one before
let isReading = false;
let isRunning = false;
let isStale = false; // the input changed while the model ran

const showBusy = () => find("answer").setAttribute("aria-busy", isReading || isRunning);

/** Runs the model on what there is now; again, if that changes meanwhile. */
async function answer() {
  isStale = true;
  if (isRunning) return;
  isRunning = true;
  showBusy();
  try {
    while (isStale) {
      isStale = false;
      const text = classifier.hasWords(field.value) ? field.value : "";
      const isEmpty = pixels === null && text === "";
      view.showAnswer(isEmpty ? null : await classifier.predict(pixels, text), classifier);
    }
  } catch (error) {
    view.showFailure(error);
  } finally {
    isRunning = false;
    showBusy();
  }
}

/** Reads a picture file, or forgets the one before if it is null. */
async function takePicture(chosen) {
  newest = chosen;
  isReading = true;
  showBusy();
  let problem = "";
  let read = null;
  try {
    if (chosen) read = await readPicture(chosen, classifier.image);
  } catch (error) {
    if (!(error instanceof PageError)) console.error(error);
    problem =
      error instanceof PageError
        ? error.message
        : "The picture could not be read: the browser may be short of memory. Make it smaller.";
  }
  if (newest !== chosen) return;
  isReading = false;
  pixels = read;
  view.showPicture({ file: read && chosen, pixels, size: classifier.image, problem });
  file.value = ""; // so that the same file can be chosen again
  answer();
}

function takeText() {
  view.showText(field.value, classifier);
  answer();
}

function takePictures() {
  file.addEventListener("change", () => file.files.length && takePicture(file.files[0]));
  find("remove").addEventListener("click", () => {
    takePicture(null);
    file.focus();
  });
  // Anywhere on the page: a file dropped beside the field would else replace the page.
  const holdsFiles = (event) => event.dataTransfer.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    drop.classList.remove("over");
    takePicture(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (pasted) takePicture(pasted);
  });
}

function takeTexts() {
  field.addEventListener("input", takeText);
  find("clear").addEventListener("click", () => {
    field.value = "";
    takeText();
    field.focus();
  });
}

find("unserved").remove();
try {
  const paths = { model: "model.tflite", rules: "rules.json", litert: "litert/" };
  classifier = await loadClassifier(paths);
  view.showAbout(classifier);
  if (classifier.image) takePictures();
  if (classifier.text) takeTexts();
  find("more").addEventListener("click", view.toggleClasses);
  takeText(); // browsers keep what was typed before a reload
} catch (error) {
  view.showFailure(error);
}
