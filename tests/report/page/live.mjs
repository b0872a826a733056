// Looks at the live page of a sidecar as people do: by day, by night, on a telephone and on a large screen, with the
// keyboard and without motion. Prints one JSON object a view, and one of what the page says.
//   node live.mjs URL FOLDER
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const [url, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const executablePath = process.env.CHROMIUM || (await chromium.executablePath());
const browser = await puppeteer.launch({ args: chromium.args, executablePath, headless: "shell" });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const open = async (width, features) => {
  const tab = await browser.newPage();
  const said = [];
  const asked = [];
  tab.on("console", (message) => said.push(message.text()));
  tab.on("pageerror", (error) => said.push(String(error)));
  tab.on("request", (request) => request.url().startsWith("data:") || asked.push(request.url()));
  await tab.setViewport({ width, height: 900 });
  await tab.emulateMediaFeatures(features);
  await tab.goto(url);
  await tab.waitForSelector("body[data-second]");
  return { tab, said, asked };
};
const scheme = (value) => [{ name: "prefers-color-scheme", value }];

const views = [
  { view: "light", width: 1200, features: scheme("light") },
  { view: "dark", width: 1200, features: scheme("dark") },
  { view: "telephone", width: 400, features: scheme("light") },
  { view: "telephone-dark", width: 400, features: scheme("dark") },
  { view: "wide", width: 1600, features: scheme("light") },
];
for (const { view, width, features } of views) {
  const { tab, said, asked } = await open(width, features);
  await tab.evaluate(() => (document.querySelector("details").open = true));
  // The policy of the page forbids scripts; what the debugger evaluates is none of the page's.
  await tab.evaluate(axe);
  const found = await tab.evaluate(() => window.axe.run());
  const looks = await tab.evaluate(() => ({
    paper: getComputedStyle(document.body).backgroundColor,
    wide: document.documentElement.scrollWidth,
  }));
  const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
  await tab.screenshot({ path: `${folder}/${view}.png`, fullPage: true });
  console.log(JSON.stringify({ view, width, violations, passes: found.passes.length, said, asked, ...looks }));
  await tab.close();
}

const { tab } = await open(1200, [{ name: "prefers-reduced-motion", value: "reduce" }]);
const text = (selector) => tab.$eval(selector, (element) => element.textContent);
const calls_seen = [];
for (let look = 0; look < 4; look += 1) {
  calls_seen.push(await text("#calls-total"));
  await pause(1500);
}
// By the keyboard: what is paused stays as it is until it goes on.
await tab.focus("#pause");
await tab.keyboard.press("Enter");
const pressed = await tab.$eval("#pause", (button) => button.getAttribute("aria-pressed"));
const paused = [await text("#calls-total")];
const animation = await tab.$eval("#connection", (element) => getComputedStyle(element, "::before").animationName);
await pause(2500);
paused.push(await text("#calls-total"));
await tab.keyboard.press("Enter");
await pause(1500);
paused.push(await text("#calls-total"));
const sorted = [];
await tab.focus("#callers-head th:nth-child(2) button");
for (let press = 0; press < 2; press += 1) {
  await tab.keyboard.press("Enter");
  sorted.push(await tab.$eval("#callers-head th:nth-child(2)", (head) => head.getAttribute("aria-sort")));
}
const page = await tab.evaluate(() => {
  const facts = (id) =>
    Object.fromEntries([...document.querySelectorAll(`#${id} div`)].map((pair) => [pair.children[0].textContent, pair.children[1].textContent]));
  const cells = (row) => [...row.querySelectorAll("td")].map((cell) => cell.textContent);
  return {
    callers: [...document.querySelectorAll("#callers-body tr")].map((row) => {
      const name = row.querySelector("bdi");
      return { name: name.textContent, elements: name.children.length, cells: cells(row) };
    }),
    total: cells(document.querySelector("#callers-foot tr:last-child")),
    outcomes: facts("outcomes"),
    ledger: facts("ledger-facts"),
    line: document.querySelector("#plots path.line").getAttribute("d"),
    pwned: window.pwned ?? null,
  };
});
console.log(JSON.stringify({ ...page, calls_seen, pressed, paused, animation, sorted }));
await browser.close();
