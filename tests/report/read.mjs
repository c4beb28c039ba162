/**
 * Opens a page of a run in Chromium and prints what a person would read there.
 *
 * node read.mjs TASKS.json, with {chromium, visits: [{url, width, scheme, media}]}.
 * Prints a JSON list: for each visit {verdict, tiles, tables, pictures, unnamed, requests,
 * violations, wider}.
 */

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const tasks = JSON.parse(readFileSync(process.argv[2], "utf8"));
const browser = await chromium.launch({ executablePath: tasks.chromium, args: ["--no-sandbox"] });
const seen = [];
for (const { url, width, scheme, media } of tasks.visits) {
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: { width, height: 900 },
  });
  const page = await context.newPage();
  const requests = [];
  const violations = [];
  page.on("console", (message) => {
    if (/security policy/i.test(message.text())) violations.push(message.text());
  });
  page.on("request", (request) => requests.push(request.url()));
  await page.emulateMedia({ media: media ?? "screen" });
  await page.goto(url);
  const found = await page.evaluate(() => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    const all = (selector, within = document) => [...within.querySelectorAll(selector)];
    const text = (element) => element.innerText.replace(/\s+/g, " ").trim();
    const table = (element) => ({
      label: element.parentElement.getAttribute("aria-label"),
      rows: all("tr", element).map((row) => all("th, td", row).map(text)),
    });
    return {
      verdict: text(document.querySelector(".verdict")),
      tiles: all(".tiles dd").map(text),
      tables: all("table").map(table),
      pictures: all("img").map((image) => [image.alt, image.complete && image.naturalWidth > 0]),
      unnamed: all("svg").filter((svg) => !svg.getAttribute("aria-label")).length,
      wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    };
  });
  seen.push({ ...found, requests, violations });
  await context.close();
}
await browser.close();
process.stdout.write(JSON.stringify(seen));
