/** Runs an exported .tflite file with LiteRT.js on the processor. */

import { PageError, readModelFile } from "./model_file.js";
import { remarkOn } from "./remarks.js";
import { Tokenizer } from "./tokenizer.js";

const SIGNATURE = "serving_default";
const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
const RANKS = { image: 4, text: 2, audio: 2, series: 3 }; // sizes of an input's tensor
const TIMED_MS = 20;
const MAX_TIMED_CALLS = 200;
const MAX_MATCHES = 10;

/**
 * Loads a model and the runtime.
 *
 * @param {{model: string, rules: string, litert: string, candidates: string}} paths The .tflite
 *     file, rules.json, the folder of LiteRT.js, and, without the endings .json and .bin, the
 *     candidates that a model of embeddings finds; relative to the page.
 * @returns {Promise<Model>}
 */
export async function loadModel({ model, rules, litert, candidates }) {
  if (typeof WebAssembly !== "object") {
    throw new PageError(
      "This browser has no WebAssembly, which runs the model, or it is switched off. " +
        "Use a current Chrome, Edge, Firefox or Safari.",
    );
  }
  const [content, ruleTables] = await Promise.all([
    download(model).then(async (response) => new Uint8Array(await response.arrayBuffer())),
    download(rules).then((response) => response.json()),
  ]);
  const file = await readModelFile(content, ruleTables.rules);
  if (file.output === "embedding") file.candidates = await readCandidates(candidates);
  const folder = new URL(litert, document.baseURI).href;
  let runtime;
  try {
    runtime = await import(`${folder}index.js`);
    await runtime.loadLiteRt(folder);
  } catch (error) {
    throw new PageError(
      `LiteRT.js could not be started (${reason(error)}). Reload the page; if that does not ` +
        "help, write it again with mmkd-tf, or use a current browser.",
    );
  }
  try {
    const compiled = await runtime.loadAndCompile(content, { accelerator: "wasm" });
    return new Model(file, content.length, ruleTables, compiled, runtime.Tensor);
  } catch (error) {
    if (error instanceof PageError) throw error;
    throw new PageError(
      `LiteRT.js refuses this model (${reason(error)}). Export it again with mmkd-tf.`,
    );
  }
}

/** Reads items and their embeddings, of length 1. */
async function readCandidates(path) {
  const [items, values] = await Promise.all([
    download(`${path}.json`).then((response) => response.json()),
    download(`${path}.bin`).then((response) => response.arrayBuffer()),
  ]);
  return { items, embeddings: new Float32Array(values) };
}

async function download(path) {
  const problem = (what) =>
    new PageError(
      `The file ${path} could not be read (${what}). Write the page again with mmkd-tf.`,
    );
  let response;
  try {
    // Asked of the server each time, so that a file exchanged there is noticed.
    response = await fetch(path, { cache: "no-cache" });
  } catch (error) {
    throw problem(reason(error));
  }
  if (!response.ok) throw problem(`the server says ${response.status}`);
  return response;
}

const reason = (error) => String(error?.message ?? error).split("\n")[0].slice(0, 200);

export class Model {
  #file;
  #tokenizer;
  #tensors;
  #compiled;
  #Tensor;

  constructor(file, numBytes, rules, compiled, Tensor) {
    this.#file = file;
    /** What it gives: "classes", "labels", "values" or "matches". */
    this.kind = kindOf(file);
    /** What it gives figures of: names of classes, labels or targets, or what it finds. */
    this.names = file.candidates?.items ?? file.names;
    this.credits = file.credits;
    this.numBytes = numBytes;
    this.#compiled = compiled;
    this.#Tensor = Tensor;
    const signature = compiled.signatures[SIGNATURE];
    const output = signature?.getOutputDetails().find(({ name }) => name === file.output);
    this.#tensors = signature?.getInputDetails() ?? [];
    const forms = this.#tensors.map(({ name, shape, dtype }) => {
      return { kind: name, ...file.inputs[name], name, size: [...shape], dtype };
    });
    const of = (kind) => forms.filter((form) => form.kind === kind);
    const isRead = ({ kind, size }) => size.length === RANKS[kind];
    const numSingle = Math.max(of("image").length, of("text").length);
    const isUnknown = !forms.length || !forms.every(isRead) || numSingle > 1;
    const numOutputs = output?.shape.at(-1);
    const numFitting = file.candidates
      ? file.candidates.embeddings.length / this.names.length
      : this.names.length;
    if (isUnknown || numOutputs !== numFitting) {
      throw new PageError(
        "This page runs models of one picture, one text, sounds and series, with a name for each " +
          "output, or candidates of its width. This one has the inputs " +
          `${forms.map(({ name, kind }) => `${name} (${kind})`)}, ${this.names.length} ` +
          `${file.candidates ? "candidates" : "names"}, ${numOutputs} outputs.`,
      );
    }
    if (forms.some(({ size }) => size[0] < 1)) {
      throw new PageError(
        "This model takes any number of examples at once, which LiteRT.js does not know. " +
          "Export it with batch_size=1.",
      );
    }
    const [image] = of("image");
    /** Name and size of the picture that the model takes; null where it takes none. */
    this.image = image
      ? { name: image.name, height: image.size[1], width: image.size[2] }
      : null;
    const [text] = of("text");
    const vocabulary = file.vocabularies[text?.name] ?? null;
    // Texts are token ids, int32, or UTF-8 for a tokenizer inside the file, uint8.
    const isBytes = text?.dtype === "uint8";
    /**
     * Name of the text, number of ids or bytes that the model takes, number of words that it reads
     * at most, whether these are bytes, and whether it can't be given a text for want of its
     * vocabulary; null where it takes no text.
     */
    this.text = text
      ? {
          name: text.name,
          length: text.size[1],
          mostWords: isBytes ? (text.most_words ?? Infinity) : text.size[1],
          isBytes,
          isUnreadable: !isBytes && !vocabulary,
        }
      : null;
    /** Sounds and series that the model takes, as `readSound` and `readSeries` want them. */
    this.sounds = of("audio").map(({ name, rate, size }) => ({ name, rate, size: size[1] }));
    this.series = of("series").map(({ name, channels, time, size }) => ({
      name,
      length: size[1],
      channels: size[2] - 1,
      names: Array.isArray(channels) ? channels : null,
      time: time ?? null,
    }));
    this.hasVocabulary = vocabulary !== null;
    this.#tokenizer = new Tokenizer(rules, vocabulary ?? []);
  }

  /** Gives the words of a text and whether the model knows them: `[{word, known}]`. */
  words(text) {
    const isKnown = (word) => !this.hasVocabulary || this.#tokenizer.knows(word);
    return this.#tokenizer.words(text).map((word) => ({ word, known: isKnown(word) }));
  }

  /** Gives the number of a text's words that the model has room for. */
  numRead(text) {
    const { length, isBytes, mostWords } = this.text;
    return Math.min(mostWords, isBytes ? this.#tokenizer.numFitting(text, length) : Infinity);
  }

  /** Tells whether the model gets anything of a text. */
  hasWords(text) {
    return this.text !== null && !this.text.isUnreadable && this.words(text).length > 0;
  }

  /**
   * Asks the model about one example and measures how long it takes.
   *
   * @param {Object<string, ?(Uint8Array|Float32Array)>} given By input, pixels of `readPicture`,
   *     samples of `readSound`, numbers of `readSeries`; what is absent is left out or null.
   * @param {string} text Empty if there is none.
   * @returns {Promise<{rows: {name: string, figure: number, isGiven: boolean}[], remark: string,
   *     milliseconds: number, numCalls: number}>} Classes, labels or candidates, the best first, or
   *     targets in their order, with probability, value or cosine, and whether it is a part of the
   *     answer; how sure it is; mean time of a call.
   */
  async predict(given, text) {
    const inputs = {};
    try {
      for (const { name, dtype, shape } of this.#tensors) {
        // A file may be made for several examples at once: the others are zeros.
        const values = new ARRAYS[dtype](shape.reduce((product, size) => product * size));
        const example = name === this.text?.name ? this.#textValues(text) : given[name];
        values.set(example ?? []);
        inputs[name] = new this.#Tensor(values, shape);
      }
      const rows = this.#rows(await this.#run(inputs));
      const remark = remarkOn(rows, this.kind, this.#file);
      return { rows, remark, ...(await this.#time(inputs)) };
    } finally {
      for (const tensor of Object.values(inputs)) tensor.delete();
    }
  }

  #rows(values) {
    const { candidates, threshold } = this.#file;
    const figures = candidates ? cosines(values, candidates.embeddings) : values;
    const rows = this.names.map((name, i) => ({ name, figure: figures[i], isGiven: false }));
    if (this.kind !== "values") rows.sort((a, b) => b.figure - a.figure);
    rows.forEach((row, place) => {
      const isBest = this.kind !== "values" && place === 0;
      row.isGiven = this.kind === "labels" ? row.figure > threshold : isBest;
    });
    return this.kind === "matches" ? rows.slice(0, MAX_MATCHES) : rows;
  }

  #textValues(text) {
    const { length, isBytes } = this.text;
    return isBytes ? this.#tokenizer.bytes(text, length) : this.#tokenizer.ids(text, length);
  }

  /** Runs the model; the runtime keeps what is not deleted. */
  async #run(inputs) {
    const outputs = await this.#compiled.run(SIGNATURE, inputs);
    const values = outputs[this.#file.output].toTypedArray();
    for (const tensor of Object.values(outputs)) tensor.delete();
    return values;
  }

  /** Browsers' clocks tick in steps of up to a millisecond, so many calls are timed at once. */
  async #time(inputs) {
    const start = performance.now();
    let numCalls = 0;
    let elapsed = 0;
    while (elapsed < TIMED_MS && numCalls < MAX_TIMED_CALLS) {
      await this.#run(inputs);
      numCalls += 1;
      elapsed = performance.now() - start;
    }
    return { milliseconds: elapsed / numCalls, numCalls };
  }
}

function kindOf({ output, threshold }) {
  if (output === "probabilities") return threshold === null ? "classes" : "labels";
  return output === "values" ? "values" : "matches";
}

/** Cosines of an embedding with each of several of length 1, one after the other in an array. */
function cosines(query, embeddings) {
  const length = Math.hypot(...query) || 1;
  const width = query.length;
  return Array.from({ length: embeddings.length / width }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < width; i += 1) sum += query[i] * embeddings[row * width + i];
    return sum / length;
  });
}
