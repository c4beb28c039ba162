/**
 * Turns a text into token ids exactly as mmkd_tf/edge/tokenizer.py does.
 *
 * The code points of the rules are not repeated here: rules.json has them.
 */

const UNKNOWN_ID = 1;

/** Writes [first, last] code points as a regular expression's character class. */
function characterClass(ranges) {
  const escape = (codePoint) => `\\u{${codePoint.toString(16)}}`;
  return `[${ranges.map(([first, last]) => `${escape(first)}-${escape(last)}`).join("")}]`;
}

export class Tokenizer {
  /**
   * @param {{fold: number[][], separators: number[][], singles: number[][]}} rules
   *     Pairs of code points, of rules.json.
   * @param {string[]} vocabulary Words in the order of their ids; the first two stand for
   *     padding and unknown words.
   */
  constructor(rules, vocabulary) {
    const text = (codePoint) => String.fromCodePoint(codePoint);
    this.fold = new Map(rules.fold.map(([upper, lower]) => [text(upper), text(lower)]));
    this.separators = new RegExp(`${characterClass(rules.separators)}+`, "gu");
    this.singles = new RegExp(characterClass(rules.singles), "gu");
    this.idOf = new Map(vocabulary.map((word, id) => [word, id]).slice(UNKNOWN_ID + 1));
  }

  /** Folds case and splits a text into words. */
  words(text) {
    // A string's iterator goes by code points, and leaves halves of surrogate pairs alone.
    const folded = Array.from(text, (character) => this.fold.get(character) ?? character).join("");
    const spaced = folded.replace(this.separators, " ").replace(this.singles, " $& ");
    return spaced.split(" ").filter((word) => word !== "");
  }

  /** Tells whether a word, as `words` gives it, is in the vocabulary. */
  knows(word) {
    return this.idOf.has(word);
  }

  /** Gives `length` ids: words beyond are cut, missing ones are 0. */
  ids(text, length) {
    const ids = new Int32Array(length);
    ids.set(this.words(text).slice(0, length).map((word) => this.idOf.get(word) ?? UNKNOWN_ID));
    return ids;
  }
  /**
   * Gives `length` bytes of UTF-8, 0 on the right; all are 0 of a text without words.
   *
   * Of a longer text, what parts its words takes one byte each time; if it is still longer, it is
   * cut behind a word, within the first where that alone is longer.
   */
  bytes(text, length) {
    const bytes = new Uint8Array(length);
    bytes.set(utf8(this.#fitting(text, length)));
    return bytes;
  }

  /** Gives the number of words that `length` bytes of a text have room for. */
  numFitting(text, length) {
    return this.words(this.#fitting(text, length)).length;
  }

  #fitting(text, length) {
    // U+0000 would end the text, and halves of surrogate pairs have no UTF-8: both separate words.
    const whole = text.replace(/\0/g, " ").replace(/[\u{d800}-\u{dfff}]/gu, "?");
    if (!this.words(whole).length) return "";
    if (utf8(whole).length <= length) return whole;
    const spaced = Array.from(text.replace(this.separators, " ").replace(/^ | $/g, ""));
    let [end, room] = [0, length];
    while (end < spaced.length && utf8(spaced[end]).length <= room) {
      room -= utf8(spaced[end]).length;
      end += 1;
    }
    const isPart = (place) => place in spaced && this.#isPart(spaced[place]);
    let kept = end;
    if (isPart(end) && isPart(end - 1)) {
      // A part of a word could be taken for another one.
      while (isPart(kept - 1)) kept -= 1;
      if (spaced[kept - 1] === " ") kept -= 1;
      kept ||= end;
    }
    return spaced.slice(0, kept).join("");
  }

  /** Tells whether a character goes on with the word before it. */
  #isPart(character) {
    return character.replace(this.separators, "").replace(this.singles, "") !== "";
  }
}

function utf8(text) {
  return new TextEncoder().encode(text);
}
