/** Runs an exported .tflite file with LiteRT.js on the processor. */

import { PageError, readModelFile } from "./model_file.js";
import { Tokenizer, textBytes } from "./tokenizer.js";

const SIGNATURE = "serving_default";
const OUTPUT = "probabilities";
const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
const TIMED_MS = 20;
const MAX_TIMED_CALLS = 200;

/**
 * Loads a model and the runtime.
 *
 * @param {{model: string, rules: string, litert: string}} paths The .tflite file, rules.json, and
 *     the folder of LiteRT.js, relative to the page.
 * @returns {Promise<Classifier>}
 */
export async function loadClassifier({ model, rules, litert }) {
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
    return new Classifier(file, content.length, ruleTables, compiled, runtime.Tensor);
  } catch (error) {
    if (error instanceof PageError) throw error;
    throw new PageError(
      `LiteRT.js refuses this model (${reason(error)}). Export it again with mmkd-tf.`,
    );
  }
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

export class Classifier {
  #tokenizer;
  #tensors;
  #compiled;
  #Tensor;

  constructor(file, numBytes, rules, compiled, Tensor) {
    this.classNames = file.classNames;
    this.credits = file.credits;
    this.numBytes = numBytes;
    this.#compiled = compiled;
    this.#Tensor = Tensor;
    const signature = compiled.signatures[SIGNATURE];
    const output = signature?.getOutputDetails().find(({ name }) => name === OUTPUT);
    this.#tensors = signature?.getInputDetails() ?? [];
    const sizes = Object.fromEntries(this.#tensors.map(({ name, shape }) => [name, shape]));
    const others = Object.keys(sizes).filter((name) => name !== "image" && name !== "text");
    const numClasses = output?.shape.at(-1);
    if (others.length || !this.#tensors.length || numClasses !== this.classNames.length) {
      throw new PageError(
        "This page runs models of image and text with a label for each output. This one has the " +
          `inputs ${Object.keys(sizes)}, ${this.classNames.length} labels, ${numClasses} outputs.`,
      );
    }
    if (Object.values(sizes).some(([batch]) => batch < 1)) {
      throw new PageError(
        "This model takes any number of examples at once, which LiteRT.js does not know. " +
          "Export it with batch_size=1.",
      );
    }
    /** Size of the picture that the model takes; null where it takes none. */
    this.image = sizes.image ? { height: sizes.image[1], width: sizes.image[2] } : null;
    // Texts are token ids, int32, or UTF-8 for a tokenizer inside the file, uint8.
    const isBytes = this.#tensors.some(({ name, dtype }) => name === "text" && dtype === "uint8");
    /**
     * Number of words or bytes that the model takes, and whether it can't be given a text for want
     * of its vocabulary; null where it takes no text.
     */
    this.text = sizes.text
      ? { length: sizes.text[1], isBytes, isUnreadable: !isBytes && !file.vocabulary }
      : null;
    this.hasVocabulary = file.vocabulary !== null;
    this.#tokenizer = new Tokenizer(rules, file.vocabulary ?? []);
  }

  /** Gives the words of a text and whether the model knows them: `[{word, known}]`. */
  words(text) {
    const isKnown = (word) => !this.hasVocabulary || this.#tokenizer.knows(word);
    return this.#tokenizer.words(text).map((word) => ({ word, known: isKnown(word) }));
  }

  /** Tells whether the model gets anything of a text. */
  hasWords(text) {
    return this.text !== null && !this.text.isUnreadable && this.words(text).length > 0;
  }

  /**
   * Classifies one example and measures how long the model takes.
   *
   * @param {?Uint8Array} pixels Of `readPicture`; null if there is no picture.
   * @param {string} text Empty if there is none.
   * @returns {Promise<{classes: {name: string, probability: number}[], milliseconds: number,
   *     numCalls: number}>} Classes, the most probable first; mean time of a call.
   */
  async predict(pixels, text) {
    const inputs = {};
    try {
      for (const { name, dtype, shape } of this.#tensors) {
        // A file may be made for several examples at once: the others are zeros.
        const values = new ARRAYS[dtype](shape.reduce((product, size) => product * size));
        const example = name === "image" ? pixels : this.#textValues(text);
        values.set(example ?? []);
        inputs[name] = new this.#Tensor(values, shape);
      }
      const probabilities = await this.#run(inputs);
      const classes = this.classNames.map((name, i) => ({ name, probability: probabilities[i] }));
      classes.sort((a, b) => b.probability - a.probability);
      return { classes, ...(await this.#time(inputs)) };
    } finally {
      for (const tensor of Object.values(inputs)) tensor.delete();
    }
  }

  #textValues(text) {
    const { length, isBytes } = this.text;
    return isBytes ? textBytes(text, length) : this.#tokenizer.ids(text, length);
  }

  /** Runs the model; the runtime keeps what is not deleted. */
  async #run(inputs) {
    const outputs = await this.#compiled.run(SIGNATURE, inputs);
    const values = outputs[OUTPUT].toTypedArray();
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
