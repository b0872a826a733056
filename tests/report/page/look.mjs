// Looks at a page as people do: by day, by night, on a telephone and on paper. Prints one JSON object a view.
//   node look.mjs PAGE FOLDER
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const [page, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const executablePath = await chromium.executablePath();
const browser = await puppeteer.launch({ args: chromium.args, executablePath, headless: "shell" });

const views = [
  { view: "light", width: 1200, scheme: "light" },
  { view: "dark", width: 1200, scheme: "dark" },
  { view: "telephone", width: 375, scheme: "light" },
  { view: "telephone-dark", width: 375, scheme: "dark" },
];
for (const { view, width, scheme } of views) {
  const tab = await browser.newPage();
  const said = [];
  const asked = [];
  tab.on("console", (message) => said.push(message.text()));
  tab.on("pageerror", (error) => said.push(String(error)));
  tab.on("request", (request) => asked.push(request.url()));
  await tab.setViewport({ width, height: 900 });
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await tab.goto(pathToFileURL(page).href);
  // The policy of the page forbids scripts; what the debugger evaluates is none of the page's.
  await tab.evaluate(axe);
  const found = await tab.evaluate(() => window.axe.run());
  const looks = await tab.evaluate(() => ({
    paper: getComputedStyle(document.body).backgroundColor,
    wide: document.documentElement.scrollWidth,
    bars: [...document.querySelectorAll("svg.days rect")].map((bar) => bar.getBoundingClientRect().height),
    scripts: window.pwned ?? null,
    styled: getComputedStyle(document.querySelector("dl.summary")).display,
  }));
  const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
  await tab.screenshot({ path: `${folder}/${view}.png` });
  console.log(JSON.stringify({ view, width, violations, passes: found.passes.length, said, asked: asked.length, ...looks }));
  await tab.close();
}
const tab = await browser.newPage();
await tab.goto(pathToFileURL(page).href);
const pdf = await tab.pdf({ path: `${folder}/paper.pdf`, preferCSSPageSize: true });
console.log(JSON.stringify({ view: "paper", bytes: pdf.length }));
await browser.close();
