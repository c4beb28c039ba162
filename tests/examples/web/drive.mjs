/**
 * Opens pages in Chromium as a person would, and prints what they show.
 *
 * node drive.mjs TASKS.json, with {chromium, url, visits: [{model, without, examples, script}]}.
 * `model` is the path of a file in place of the page's own, `without` what the browser shall lack; an
 * example is {image: a path, text: a string, dropped: whether the picture is dropped, sample: the
 * number of a sample picture, from 1, camera: whether a picture is taken, sounds: paths by input,
 * series: texts by input}; all are optional.
 * Prints a JSON list: for each visit {title, about, failure, requests, violations, answers, script}.
 */

import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const QUIET = [
  "--use-fake-device-for-media-stream", // a camera that sees a green picture
  "--use-fake-ui-for-media-stream",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// What a visit may lack, to see how the page does without.
const LACKS = {
  WebAssembly: () => delete globalThis.WebAssembly,
  "relaxed SIMD": () => {
    const instantiate = WebAssembly.instantiate;
    WebAssembly.instantiate = (source, imports) =>
      source.byteLength < 100 ? Promise.reject(new Error("refused")) : instantiate(source, imports);
  },
};

async function visit(browser, url, { model, without, examples = [], script }) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const requests = [];
  const violations = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => violations.push(String(error)));
  page.on("console", (message) => {
    if (/security policy/i.test(message.text())) violations.push(message.text());
  });
  if (model) {
    const content = existsSync(model) ? { path: model } : { status: 404 };
    await page.route("**/model.tflite", (route) => route.fulfill(content));
  }
  if (without) await page.addInitScript(LACKS[without]);
  await page.goto(url);
  await page.waitForSelector("#first:not(:empty), #failure:not(:empty)");
  const answers = [];
  for (const example of examples) answers.push(await ask(page, example));
  const seen = { title: await page.title() };
  for (const id of ["about", "credits", "failure"]) seen[id] = await page.textContent(`#${id}`);
  // Of the page alone: what a test's own script asks for comes later.
  Object.assign(seen, { requests: [...requests], violations: [...violations], answers });
  if (script) seen.script = await page.evaluate(script);
  await context.close();
  return seen;
}

async function drop(page, path) {
  const file = { name: basename(path), content: readFileSync(path, "base64") };
  const dataTransfer = await page.evaluateHandle(({ name, content }) => {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name));
    return transfer;
  }, file);
  await page.dispatchEvent("#text", "drop", { dataTransfer });
}

/** Gives the page one example and reads off what it shows. */
async function ask(page, { image, text = "", dropped, sample, camera, sounds, series }) {
  for (const button of await page.$$("[data-input] :is(.remove, .clear):not([hidden])")) {
    await button.click();
  }
  for (const [name, path] of Object.entries(sounds ?? {})) {
    await page.setInputFiles(`[data-input=${name}] .file`, path);
  }
  for (const [name, typed] of Object.entries(series ?? {})) {
    await page.fill(`[data-input=${name}] .field`, typed);
  }
  if (await page.isVisible("#remove")) await page.click("#remove");
  if (await page.isVisible("#words-field") && await page.isEnabled("#words-field")) {
    await page.fill("#words-field", text);
  }
  if (sample) await page.click(`#sample-list button:nth-child(${sample})`);
  if (camera) {
    await page.click("#camera");
    await page.waitForFunction(() => document.getElementById("video").videoWidth > 0);
    await page.click("#shoot");
  }
  if (sample || camera) await page.waitForSelector("#preview:not([hidden])");
  if (image && dropped) await drop(page, image);
  else if (image) await page.setInputFiles("#file", image);
  await page.waitForSelector("#answer[aria-busy=false]");
  return page.evaluate(() => {
    const find = (id) => document.getElementById(id);
    const canvas = find("pixels");
    const seesPicture = !find("preview").hidden;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return {
      figures: Object.fromEntries(
        [...document.querySelectorAll("#rows li")].map((row) => [
          row.querySelector(".name").firstChild.textContent,
          Number(row.querySelector("data").value),
        ]),
      ),
      given: [...document.querySelectorAll("#rows .given .name")].map(
        ({ firstChild }) => firstChild.textContent,
      ),
      remark: find("remark").textContent,
      cameraIsOpen: find("video").srcObject !== null,
      first: find("first").textContent,
      time: find("time").textContent,
      note: find("note").textContent,
      notes: [...document.querySelectorAll("[data-input] :is(.note, .problem)")]
        .map(({ textContent }) => textContent)
        .filter(Boolean),
      problem: find("picture-problem").textContent,
      words: [...find("words").children].map(({ textContent, className }) => [textContent, className]),
      pixels: seesPicture ? [...data].filter((_, i) => i % 4 !== 3) : null,
    };
  });
}

const tasks = JSON.parse(readFileSync(process.argv[2], "utf8"));
const browser = await chromium.launch({ executablePath: tasks.chromium, args: QUIET });
try {
  const seen = [];
  for (const task of tasks.visits) seen.push(await visit(browser, tasks.url, task));
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
