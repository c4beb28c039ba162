/**
 * Reads an exported .tflite file as mmkd_tf/edge/model_file.py does: the model is followed by an
 * uncompressed zip archive of labels.txt, vocab.txt and mmkd.json.
 */

const NEWEST_FORMAT = 3;
const OLD_THRESHOLDS = { multi_label: 0.5 }; // of files that say none
const KINDS = ["image", "text", "audio", "series"];
/** By task, the output that a file of it has. */
const OUTPUTS = {
  single_label: "probabilities",
  multi_label: "probabilities",
  regression: "values",
  retrieval: "embedding",
};
const COMPRESSED = ".gz";
const END_OF_DIRECTORY = 0x06054b50;
const END_SIZE = 22;
const ENTRY = 0x02014b50;
const ENTRY_SIZE = 46;
const LOCAL_SIZE = 30;
const LONGEST_COMMENT = 0xffff;

/** An error whose message is meant for the person before the page. */
export class PageError extends Error {}

/**
 * @param {Uint8Array} content The whole file.
 * @param {number} tokenizerRules Number of the rules that this page's tokenizer follows.
 * @returns {Promise<{output: string, threshold: ?number, temperature: ?number, names: string[],
 *     inputs: Object<string, object>, vocabularies: Object<string, string[]>, credits: string[]}>}
 *     Name of the output; the probability above which a label is given, where any number of them
 *     may be; what the model divides its logits by to be as sure as it is right; names of classes,
 *     labels or targets in the order of the outputs, none of embeddings; what mmkd.json says of the
 *     inputs, each with its kind; by input, words in the order of their ids; author and licence as
 *     far as given.
 */
export async function readModelFile(content, tokenizerRules) {
  if (String.fromCharCode(...content.subarray(4, 8)) !== "TFL3") {
    throw new PageError(
      `The model file is no TFLite model, but ${content.length} bytes of something else. Copy it ` +
        "again, or export it with mmkd-tf.",
    );
  }
  let files, description, output, answer;
  try {
    files = await readStoredZip(content);
    description = JSON.parse(files["mmkd.json"]);
    const named = description.files; // so that one that is gone is noticed
    [[output, answer]] = Object.entries(description.outputs);
    const hasNames = named.includes("labels.txt") || output === "embedding";
    const isWhole = hasNames && named.every((name) => name in files);
    if (!isWhole || !("inputs" in description)) throw new RangeError("incomplete");
  } catch {
    throw new PageError(
      "The model file has no readable labels and description: it is cut off, damaged or from " +
        "another tool. Copy it again, or export it with mmkd-tf.",
    );
  }
  const { format, model_bytes: size, model_crc32: checksum } = description;
  const task = description.task ?? "single_label";
  const inputs = {};
  for (const [name, input] of Object.entries(description.inputs)) {
    inputs[name] = { kind: name, ...input };
  }
  const forms = Object.values(inputs);
  const rules = forms.find((form) => (form.tokenizer_rules ?? tokenizerRules) !== tokenizerRules)
    ?.tokenizer_rules ?? tokenizerRules;
  const hasKinds = forms.some(({ kind }) => !KINDS.includes(kind));
  const isKnown = format >= 1 && format <= NEWEST_FORMAT && OUTPUTS[task] === output;
  if (!isKnown || hasKinds || rules !== tokenizerRules) {
    throw new PageError(
      `The model file is of format ${format}, task ${task}, tokenizer rules ${rules}` +
        `${hasKinds ? ", with inputs of other kinds" : ""}, which this page does ` +
        "not know. Write the page again with the mmkd-tf that exported the model.",
    );
  }
  if (crc32(content.subarray(0, size)) !== checksum) {
    // The interpreter may crash on a damaged model.
    throw new PageError("The model file's checksum does not fit: it is damaged. Copy it again.");
  }
  return {
    output,
    threshold: answer.threshold ?? OLD_THRESHOLDS[task] ?? null,
    temperature: answer.temperature ?? null,
    names: files["labels.txt"]?.split("\n") ?? [],
    inputs,
    vocabularies: vocabulariesOf(files, inputs),
    credits: [description.author, description.licence].filter(Boolean),
  };
}

/** By input of texts, its words, where the file has them. */
function vocabulariesOf(files, inputs) {
  const found = {};
  for (const [name, { kind }] of Object.entries(inputs)) {
    const file = name === kind ? "vocab.txt" : `${name}.vocab.txt`;
    const words = files[file] ?? files[`${file}${COMPRESSED}`];
    if (kind === "text" && words !== undefined) found[name] = words.split("\n");
  }
  return found;
}

/**
 * Gives the texts of a zip archive at the end of `content` by name. The archive must compress none;
 * those that are gzip files are unpacked.
 */
async function readStoredZip(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const u16 = (at) => view.getUint16(at, true);
  const u32 = (at) => view.getUint32(at, true);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  let end = content.length - END_SIZE;
  const lowest = Math.max(0, end - LONGEST_COMMENT);
  while (end >= lowest && u32(end) !== END_OF_DIRECTORY) end -= 1;
  if (end < lowest) throw new RangeError("no archive");

  const directorySize = u32(end + 12);
  // Offsets count from the archive's beginning, which need not be the file's.
  const origin = end - directorySize - u32(end + 16);
  const files = {};
  for (let at = end - directorySize; at < end; ) {
    if (u32(at) !== ENTRY || u16(at + 10) !== 0) throw new RangeError("not a stored entry");
    const [size, nameSize] = [u32(at + 24), u16(at + 28)];
    const name = decoder.decode(content.subarray(at + ENTRY_SIZE, at + ENTRY_SIZE + nameSize));
    const local = origin + u32(at + 42);
    const start = local + LOCAL_SIZE + u16(local + 26) + u16(local + 28);
    const data = content.subarray(start, start + size);
    if (data.length !== size || crc32(data) !== u32(at + 16)) throw new RangeError("damaged");
    files[name] = decoder.decode(name.endsWith(COMPRESSED) ? await unpacked(data) : data);
    at += ENTRY_SIZE + nameSize + u16(at + 30) + u16(at + 32);
  }
  return files;
}

/** Gives what a gzip file holds. */
async function unpacked(data) {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/** The checksum of zip files. */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
