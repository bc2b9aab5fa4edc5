// The pages in a browser: what users do there, no complaint of axe, no violation of the policy, and screenshots.
// usage: node test.mjs URL FOLDER   (run.sh installs what it needs)
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const [url, folder] = process.argv.slice(2);
fs.mkdirSync(folder, { recursive: true });
const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
let checks = 0;

async function open(path, { width = 1280, dark = false } = {}) {
  const context = await browser.createBrowserContext();
  await context.overridePermissions(url, ["clipboard-read", "clipboard-sanitized-write"]);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(`${error}`));
  page.on("console", (line) => { if (line.type() === "error") page.complaints.push(line.text()); });
  await page.setViewport({ width, height: 900, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }, { name: "prefers-reduced-motion", value: "reduce" }]);
  await page.bringToFront();
  await page.goto(url + path, { waitUntil: "networkidle2" });
  return page;
}

async function look(page, name) {
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  // Through the debugger, because the page's policy blocks scripts of the test.
  const found = await page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] }).then((result) => result.violations.map((one) =>
    one.id + ": " + one.help + " " + one.nodes.slice(0, 3).map((node) => node.target + " " + node.failureSummary).join("; ")))`);
  assert.deepEqual(found, [], `axe on ${name}`);
  const wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  assert.ok(wide <= 0, `${name} is ${wide} pixels too wide`);
  assert.deepEqual(page.complaints, [], `the console on ${name}`);
  checks += 1;
}

const text = (page, selector) => page.$eval(selector, (element) => element.textContent);
const settled = (page) => page.waitForFunction(() => /^(Done|The judgment failed|One of)/.test(document.getElementById("status").textContent), { timeout: 120_000 });

try {
  for (const [name, options] of [["wide-light", {}], ["wide-dark", { dark: true }], ["narrow-light", { width: 390 }], ["narrow-dark", { width: 390, dark: true }]]) {
    const page = await open("/", options);
    await look(page, `judge-empty-${name}`);
    await page.click("#example");
    await page.click("#go");
    await settled(page);
    assert.match(await text(page, "#status"), /^Done/);
    assert.equal((await page.$$(".ranked li")).length, 3);
    await look(page, `judge-verdict-${name}`);
    await page.click("#gallery-button");
    await look(page, `gallery-${name}`);
    await page.keyboard.press("Escape");
    await page.click("#compare");
    await page.type("#other", "Prefer responses that cover every part of the question.");
    await page.click("#go");
    await page.waitForFunction(() => document.querySelectorAll(".verdict .ranked").length === 2, { timeout: 120_000 });
    await settled(page);
    await look(page, `judge-pair-${name}`);
    await page.close();
  }

  // A request is restored from its link, whatever texts it has.
  const page = await open("/");
  const odd = "</textarea><script>x()</script> „é“ 😀 '\"\\ ??/ $HOME `x`\nsecond line";
  await page.$eval("#principle", (area, value) => { area.value = value; area.dispatchEvent(new Event("input", { bubbles: true })); }, odd);
  await page.$eval("#prompt", (area) => { area.value = "Why?"; });
  await page.click("#add");
  assert.equal((await page.$$(".response")).length, 3);
  await page.click(".response:last-child button");
  assert.equal((await page.$$(".response")).length, 2);
  await page.click("#copy-link");
  await page.waitForFunction(() => /copied/.test(document.getElementById("status").textContent));
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(link, /#s=[\w-]+$/);
  const second = await open(link.slice(url.length));
  assert.equal(await second.$eval("#principle", (area) => area.value), odd);
  assert.deepEqual(second.complaints, []);
  const damaged = await open("/#s=AAAA");
  assert.match(await text(damaged, "#status"), /damaged/);

  // Copied code makes the same request in the shell, in Python and in C.
  const code = {};
  for (const form of ["curl", "python", "c"]) {
    await page.click(`[data-code=${form}]`);
    await page.waitForFunction((name) => document.getElementById("status").textContent === `Copied as ${name}.`, {}, { curl: "curl", python: "Python", c: "C" }[form]);
    code[form] = await page.evaluate(() => navigator.clipboard.readText());
    fs.writeFileSync(`${folder}/copied.${{ curl: "sh", python: "py", c: "c" }[form]}`, code[form]);
  }
  // A rubric: a table of criteria and responses, a link that keeps it, and code that sends it.
  for (const [name, options] of [["wide-light", {}], ["narrow-dark", { width: 390, dark: true }]]) {
    const rubric = await open("/", options);
    await rubric.click("#example");
    await rubric.click("#gallery-button");
    await rubric.evaluate(() => [...document.querySelectorAll("#principles h3 ~ .principle")][0].click());
    assert.equal(await text(rubric, "#principle-label"), "Criteria");
    await rubric.click("#go");
    await settled(rubric);
    assert.match(await text(rubric, "#status"), /^Done/);
    const cells = await rubric.$$eval(".rubric tbody tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    assert.deepEqual(cells.map((row) => row.slice(0, 2)), [["Correct", "4"], ["Complete", "2"], ["Brief", "1"]]);
    assert.ok(cells.every((row) => row.length === 5 && row.slice(2).every((value) => value >= 0 && value <= 100)), `${cells}`);
    await look(rubric, `judge-rubric-${name}`);
    await rubric.click("[data-code=curl]");
    await rubric.waitForFunction(() => document.getElementById("status").textContent === "Copied as curl.");
    assert.match(await rubric.evaluate(() => navigator.clipboard.readText()), /"rubric": \[\s*\{\s*"criterion": "What the response says is correct."/);
    const again = await open(new URL(rubric.url()).hash.replace(/^/, "/"));
    assert.equal(await text(again, "#principle-label"), "Criteria");
    await rubric.close();
  }
  // From the top of the page to a verdict, using only the keyboard.
  const keys = await open("/");
  await keys.focus("#principle");
  await keys.keyboard.type("Be brief.");
  await keys.focus("#prompt");
  await keys.keyboard.type("Hello?");
  await keys.keyboard.down("Control");
  await keys.keyboard.press("Enter");
  await keys.keyboard.up("Control");
  await settled(keys);
  // The error is about the field that gets the focus.
  const empty = await open("/");
  await empty.click("#go");
  assert.match(await text(empty, "#status"), /principle/);
  assert.equal(await empty.evaluate(() => document.activeElement.id), "principle");

  // Jobs.
  for (const [name, options] of [["wide-light", {}], ["wide-dark", { dark: true }], ["narrow-light", { width: 390 }], ["narrow-dark", { width: 390, dark: true }]]) {
    const jobs = await open("/jobs", options);
    const requests = Array.from({ length: 60 }, (_, index) => JSON.stringify({ id: `q${index}`, principle: "Be brief.", prompt: "Why?", responses: { a: `answer ${"long ".repeat(index % 7)}`, b: "short" } })).join("\n");
    const file = `${folder}/requests.jsonl`;
    fs.writeFileSync(file, `${requests}\nno request\n`);
    await (await jobs.$("#file")).uploadFile(file);
    await jobs.click("#new-job .primary");
    await jobs.waitForSelector("#job-view:not([hidden]) table");
    await jobs.waitForFunction(() => document.querySelector("#job-title .badge")?.textContent === "finished", { timeout: 300_000 });
    await look(jobs, `job-${name}`);
    const first = await text(jobs, "tbody tr th");
    await jobs.click("thead th:first-child button");
    await jobs.waitForFunction((before) => document.querySelector("tbody tr th").textContent !== before, {}, first);
    assert.equal(await jobs.$eval("thead th", (head) => head.getAttribute("aria-sort")), "descending");
    await jobs.click("tbody th button");
    await look(jobs, `job-detail-${name}`);
    await jobs.keyboard.press("Escape");
    await jobs.click("#back");
    await jobs.waitForSelector("#list-view:not([hidden]) .job");
    await look(jobs, `jobs-${name}`);
    await jobs.close();
  }
  console.log(`pages: ${checks} views without a complaint; screenshots are in ${folder}`);
} finally {
  await browser.close();
}
