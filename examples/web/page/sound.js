/** Reads and records sounds as the mono samples that models take, as mmkd_tf/edge/audio.py does. */

import { PageError } from "./model_file.js";

const STEPS = 32768; // from 0 to 1 of 16-bit samples
const REASONS = {
  NotAllowedError: "The microphone may not be used. Allow it in the browser's settings.",
  NotFoundError: "This device has no microphone, or none that the browser finds.",
  NotReadableError: "The microphone is busy: another program uses it.",
};

/**
 * Reads the beginning of a sound file; the browser decodes and resamples it.
 *
 * All zeros means "absent" to the model, so silence becomes the smallest step.
 *
 * @param {Blob} file
 * @param {{rate: number, size: number}} form Samples a second, and of the result.
 * @returns {Promise<{values: Float32Array, seconds: number}>} Zeros behind the sound's end; how
 *     long the whole sound is.
 */
export async function readSound(file, { rate, size }) {
  const name = file.name ? `“${file.name}”` : "The sound";
  if (file.size === 0) throw new PageError(`${name} is empty (0 bytes). Save or copy it again.`);
  let decoded;
  try {
    const context = new OfflineAudioContext(1, 1, rate);
    decoded = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new PageError(
      `${name} is no sound that this browser can read, or it is damaged. ` +
        "Choose a WAV, MP3, OGG, FLAC or M4A file.",
    );
  }
  return { values: monoSteps(decoded, size), seconds: decoded.duration };
}

function monoSteps(decoded, size) {
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, i) =>
    decoded.getChannelData(i),
  );
  const values = new Float32Array(size);
  const number = Math.min(size, decoded.length);
  for (let i = 0; i < number; i += 1) {
    const mean = channels.reduce((sum, samples) => sum + samples[i], 0) / channels.length;
    values[i] = Math.min(Math.max(toEven(mean * STEPS), -STEPS), STEPS - 1) / STEPS;
  }
  return values.some((value) => value !== 0) ? values : values.fill(1 / STEPS, 0, number);
}

/** Rounds; what lies in the middle goes to an even number, as in Python. */
function toEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Whether the browser lets this page ask for a microphone: over https or from localhost only. */
export const hasMicrophone = () =>
  Boolean(navigator.mediaDevices?.getUserMedia && globalThis.MediaRecorder);

/**
 * Begins to record. What is recorded stays in the page.
 *
 * @returns {Promise<{stop: function(): void, file: Promise<Blob>}>} The file is there once stopped.
 */
export async function startRecording() {
  let stream;
  try {
    // As models hear files: nothing that is made for talking to people.
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio: raw });
  } catch (error) {
    const otherwise = `The microphone could not be started (${error.name}).`;
    throw new PageError(REASONS[error.name] ?? otherwise);
  }
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
  const file = new Promise((resolve) => {
    recorder.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      resolve(new Blob(parts, { type: recorder.mimeType }));
    });
  });
  recorder.start();
  return { stop: () => recorder.state === "recording" && recorder.stop(), file };
}
