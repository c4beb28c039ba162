/** Cards of the page for sounds and series; a model may have several of each. */

import { PageError } from "./model_file.js";
import { readSeries } from "./series.js";
import { hasMicrophone, readSound, startRecording } from "./sound.js";

/**
 * Shows a card for each sound and series that a model takes.
 *
 * @param {{sounds: object[], series: object[]}} model
 * @param {function(string, (?Float32Array|Promise<?Float32Array>)): void} take Is told the values
 *     of an input, as the model takes them, or null if there is nothing; undefined changes nothing.
 */
export function showSignals({ sounds, series }, take) {
  for (const form of sounds) soundCard(form, take);
  for (const form of series) seriesCard(form, take);
}

/** A copy of a template, with its parts by class. */
function card(kind, name) {
  const made = document.getElementById(`${kind}-card`).content.firstElementChild.cloneNode(true);
  made.dataset.input = name;
  made.setAttribute("aria-label", name);
  const find = (part) => made.querySelector(`.${part}`);
  find("name").textContent = name[0].toUpperCase() + name.slice(1);
  document.querySelector(".inputs").append(made);
  return find;
}

function problemOf(error, otherwise) {
  if (error instanceof PageError) return error.message;
  console.error(error);
  return otherwise;
}

function soundCard(form, take) {
  const find = card("sound", form.name);
  const longest = form.size / form.rate;
  const [file, record] = [find("file"), find("record")];
  let newest = null; // it may be read sooner than one before
  let recording = null;

  const takeSound = (chosen) => take(form.name, read(chosen));

  async function read(chosen) {
    newest = chosen;
    let [sound, problem] = [null, ""];
    try {
      if (chosen) sound = await readSound(chosen, form);
    } catch (error) {
      problem = problemOf(error, "The sound could not be read. Make it shorter.");
    }
    if (newest !== chosen) return undefined;
    file.value = ""; // so that the same file can be chosen again
    find("remove").hidden = !sound;
    find("problem").textContent = problem;
    const cut = sound?.seconds > longest ? `, of which the first ${longest} count` : "";
    find("note").textContent = sound ? `${sound.seconds.toFixed(1)} seconds${cut}.` : "";
    return sound?.values ?? null;
  }

  file.addEventListener("change", () => file.files.length && takeSound(file.files[0]));
  find("remove").addEventListener("click", () => takeSound(null));
  record.hidden = !hasMicrophone();
  record.addEventListener("click", async () => {
    if (recording) return recording.stop();
    find("problem").textContent = "";
    try {
      recording = await startRecording();
      record.textContent = "Stop";
      setTimeout(recording.stop, 1000 * longest + 300); // no more is heard
      takeSound(await recording.file);
    } catch (error) {
      find("problem").textContent = problemOf(error, "The microphone could not be started.");
    }
    recording = null;
    record.textContent = "Record";
  });
}

function seriesCard(form, take) {
  const find = card("series", form.name);
  const [file, field] = [find("file"), find("field")];
  const wanted = form.names?.join(", ") ?? `${form.channels} numbers a step`;
  field.placeholder = `Paste CSV or JSON: ${wanted}${form.time ? `, ${form.time}` : ""}`;
  field.setAttribute("aria-label", `Numbers of ${form.name}`);

  function takeSeries() {
    let [read, problem] = [null, ""];
    try {
      if (field.value.trim()) read = readSeries(field.value, form);
    } catch (error) {
      problem = problemOf(error, "The series could not be read.");
    }
    const isAbsent = !read?.values.some((value) => value !== 0);
    find("clear").hidden = !field.value;
    find("problem").textContent = problem;
    find("note").textContent = !read
      ? ""
      : isAbsent
        ? "This series has no numbers."
        : `${read.steps} steps, resampled to ${form.length}.`;
    take(form.name, isAbsent ? null : read.values);
  }

  field.addEventListener("input", takeSeries);
  find("clear").addEventListener("click", () => {
    field.value = "";
    takeSeries();
    field.focus();
  });
  file.addEventListener("change", async () => {
    if (!file.files.length) return;
    field.value = await file.files[0].text();
    file.value = "";
    takeSeries();
  });
}
