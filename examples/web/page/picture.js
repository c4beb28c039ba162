/** Reads a picture as RGB values in the model's size, as mmkd_tf/edge/picture.py does. */

import { PageError } from "./model_file.js";

const MAX_PIXELS = 64_000_000;
// Phones allow canvases of some 16 million pixels: larger pictures are read in strips.
const STRIP_PIXELS = 4_000_000;

/**
 * Reads a picture file: upright, transparent parts white, stretched to the model's size.
 *
 * All zeros means "absent" to the model, so the values of an all black picture become 1. Which
 * side is up is left to the browser; Chromium does not look for it in WebP files.
 *
 * @param {Blob} file
 * @param {{height: number, width: number}} size Of the result, in pixels.
 * @returns {Promise<Uint8Array>} Height x width x 3 values, 0 to 255.
 */
export async function readPicture(file, { height, width }) {
  const bitmap = await decode(file);
  try {
    if (bitmap.width * bitmap.height > MAX_PIXELS) {
      throw new PageError(
        `${nameOf(file)} is enormous: ${bitmap.width} × ${bitmap.height} pixels, ` +
          "more than 64 million. Make it smaller.",
      );
    }
    const pixels = resize(bitmap, height, width);
    return pixels.some((value) => value > 0) ? pixels : pixels.fill(1);
  } finally {
    bitmap.close();
  }
}

async function decode(file) {
  if (file.size === 0) {
    throw new PageError(`${nameOf(file)} is empty (0 bytes). Save or copy it again.`);
  }
  try {
    // Colour profiles are left out because training left them out.
    return await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
  } catch {
    throw new PageError(
      `${nameOf(file)} is no picture that this browser can read, or it is damaged. ` +
        "Choose a JPEG, PNG, WebP, GIF or BMP file.",
    );
  }
}

const nameOf = (file) => (file.name ? `“${file.name}”` : "The picture");

/** Bilinear with antialiasing: rows first, then columns, both rounded to whole levels. */
function resize(bitmap, height, width) {
  const columns = weights(bitmap.width, width);
  const rows = weights(bitmap.height, height);
  const narrow = new Uint8ClampedArray(bitmap.height * width * 3);
  for (const { top, data } of strips(bitmap)) {
    for (let at = 0, to = top * width * 3; at < data.length; at += bitmap.width * 4) {
      for (const { first, shares } of columns) {
        for (let channel = 0; channel < 3; channel += 1) {
          let sum = 0;
          let from = at + first * 4 + channel;
          for (const share of shares) {
            sum += share * data[from];
            from += 4;
          }
          narrow[to] = Math.floor(sum + 0.5);
          to += 1;
        }
      }
    }
  }
  const pixels = new Uint8Array(height * width * 3);
  rows.forEach(({ first, shares }, row) => {
    for (let column = 0; column < width * 3; column += 1) {
      let sum = 0;
      shares.forEach((share, k) => (sum += share * narrow[(first + k) * width * 3 + column]));
      pixels[row * width * 3 + column] = Math.min(255, Math.floor(sum + 0.5));
    }
  });
  return pixels;
}

/** Gives the picture's RGBA values on white, in strips of whole rows from the top. */
function* strips(bitmap) {
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = Math.min(height, Math.max(1, Math.floor(STRIP_PIXELS / width)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) {
    throw new PageError(
      `This browser can't draw a picture ${width} pixels wide. Make it smaller.`,
    );
  }
  context.fillStyle = "white";
  for (let top = 0; top < height; top += canvas.height) {
    const numRows = Math.min(canvas.height, height - top);
    context.fillRect(0, 0, width, numRows);
    context.drawImage(bitmap, 0, -top);
    yield { top, data: context.getImageData(0, 0, width, numRows).data };
  }
}

/**
 * For each of `to` pixels: the first of `from` pixels that it is made of, and their shares.
 *
 * A pixel's share falls in a straight line with its distance from the middle, to 0 at the
 * distance of one pixel of the larger grid.
 */
function weights(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, index) => {
    const middle = (index + 0.5) * scale;
    const first = Math.max(0, Math.floor(middle - reach + 0.5));
    const end = Math.min(from, Math.floor(middle + reach + 0.5));
    const shares = Array.from({ length: end - first }, (_, k) =>
      Math.max(0, 1 - Math.abs(first + k + 0.5 - middle) / reach),
    );
    const total = shares.reduce((sum, share) => sum + share, 0);
    return { first, shares: shares.map((share) => share / total) };
  });
}
