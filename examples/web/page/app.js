/** The page: takes a picture and a text, shows what the model makes of them. */

import { closeCamera, hasCamera, openCamera, takeFrame } from "./camera.js";
import { loadModel } from "./model.js";
import { PageError } from "./model_file.js";
import { readPicture } from "./picture.js";
import { showSignals } from "./signals.js";
import * as view from "./view.js";

const find = (id) => document.getElementById(id);
const [drop, file, field, video] = ["drop", "file", "words-field", "video"].map(find);

let model;
const given = {}; // by input but texts, values as the model takes them, or null
let newest = null; // the picture chosen last: it may be read sooner than one before
let isReading = false;
let numSignals = 0; // sounds and series that are being read
let isRunning = false;
let isStale = false; // the input changed while the model ran

function showBusy() {
  find("answer").setAttribute("aria-busy", isReading || isRunning || numSignals > 0);
}

/** Runs the model on what there is now; again, if that changes meanwhile. */
async function answer() {
  isStale = true;
  if (isRunning) return;
  isRunning = true;
  showBusy();
  try {
    while (isStale) {
      isStale = false;
      const text = model.hasWords(field.value) ? field.value : "";
      const isEmpty = !Object.values(given).some(Boolean) && text === "";
      view.showAnswer(isEmpty ? null : await model.predict(given, text), model);
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
  showFinder(false);
  newest = chosen;
  isReading = true;
  showBusy();
  let problem = "";
  let read = null;
  try {
    if (chosen) read = await readPicture(chosen, model.image);
  } catch (error) {
    problem = wordsOf(
      error,
      "The picture could not be read: the browser may be short of memory. Make it smaller.",
    );
  }
  if (newest !== chosen) return;
  isReading = false;
  given[model.image.name] = read;
  view.showPicture({ file: read && chosen, pixels: read, size: model.image, problem });
  file.value = ""; // so that the same file can be chosen again
  answer();
}

/** What an error says to the person before the page. */
function wordsOf(error, otherwise) {
  if (error instanceof PageError) return error.message;
  console.error(error);
  return otherwise;
}

function showFinder(isOpen) {
  if (!isOpen) closeCamera(video);
  view.showFinder(isOpen, hasCamera());
}

function takeFromCamera() {
  showFinder(false);
  find("camera").addEventListener("click", async () => {
    view.showProblem("");
    showFinder(true);
    try {
      await openCamera(video);
      if (find("finder").hidden) closeCamera(video); // closed before it was open
      else find("shoot").focus();
    } catch (error) {
      showFinder(false);
      view.showProblem(wordsOf(error, "The camera could not be started."));
    }
  });
  find("shoot").addEventListener("click", async () => {
    if (video.videoWidth) await takePicture(await takeFrame(video));
    find("camera").focus();
  });
  find("close").addEventListener("click", () => {
    showFinder(false);
    find("camera").focus();
  });
  addEventListener("pagehide", () => closeCamera(video));
}

/** Lets people try pictures that lie beside the page, if there are some. */
async function takeSamples() {
  const response = await fetch("samples.json", { cache: "no-cache" });
  if (!response.ok) return;
  view.showSamples(await response.json(), async (path) => {
    try {
      takePicture(await (await fetch(path)).blob());
    } catch (error) {
      view.showProblem(wordsOf(error, "The picture could not be fetched. Reload the page."));
    }
  });
}

/** Takes what is read of a sound or series: null if there is none, undefined if it is outdated. */
async function takeSignal(name, reading) {
  numSignals += 1;
  showBusy();
  const values = await reading;
  numSignals -= 1;
  if (values !== undefined) given[name] = values;
  answer();
}

function takeText() {
  view.showText(field.value, model);
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
  model = await loadModel({
    model: "model.tflite",
    rules: "rules.json",
    litert: "litert/",
    candidates: "candidates",
  });
  view.showAbout(model);
  if (model.image) {
    takePictures();
    takeFromCamera();
    takeSamples().catch(console.error); // they are no need
  }
  if (model.text) takeTexts();
  showSignals(model, takeSignal);
  find("more").addEventListener("click", view.toggleRows);
  takeText(); // browsers keep what was typed before a reload
} catch (error) {
  view.showFailure(error);
}
