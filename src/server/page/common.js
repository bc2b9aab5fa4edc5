// What both pages share: making elements, the key, the colours, asking the server.

/** An element with attributes and children. Text becomes text, never markup. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The same for a drawing. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const at = (id) => document.getElementById(id);

const KEY = "dicast-key";

export function key() {
  try { return sessionStorage.getItem(KEY) ?? ""; } catch { return ""; }
}

function keep(value) {
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch { /* Storage is off: the key is asked for again. */ }
}

/** An error of the server, with its problem document. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.message || `the server answered with status ${status}`);
    this.status = status;
    this.kind = problem.kind || "error";
    this.partial = problem.partial;
  }
}

/** Asks the server; a failure is a `Refusal`. */
export async function ask(path, { method = "GET", body, type = "application/json", accept = "application/json", signal } = {}) {
  const headers = { accept };
  if (body !== undefined) headers["content-type"] = type;
  if (key()) headers.authorization = `Bearer ${key()}`;
  const response = await fetch(path, { method, headers, body, signal });
  if (response.ok) return response;
  let problem = {};
  try { problem = await response.json(); } catch { /* Not from this server, such as a proxy before it. */ }
  if (response.status === 401) openKey();
  throw new Refusal(response.status, problem);
}

/** The events of an answer, as `[name, data]`. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let [name, data] = ["message", ""];
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        if (line.startsWith("data:")) data += line.slice(5).trim();
      }
      if (data) yield [name, JSON.parse(data)];
    }
  }
}

function openKey() {
  at("key").value = key();
  if (!at("key-dialog").open) at("key-dialog").showModal();
}

const THEMES = ["system", "light", "dark"];
const SIGNS = { system: "◐", light: "☀", dark: "☾" };

function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try { localStorage.setItem("dicast-theme", name); } catch { /* Storage is off. */ }
  at("theme").textContent = SIGNS[name];
  at("theme").setAttribute("aria-label", `Colours: ${name === "system" ? "as the system" : name}`);
}

/** What both pages have: the key, the colours, dialogs that close. */
export function start() {
  theme(document.documentElement.dataset.theme ?? "system");
  at("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "system";
    theme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  });
  at("key-button").addEventListener("click", openKey);
  at("key-form").addEventListener("submit", () => {
    keep(at("key").value.trim());
    document.dispatchEvent(new Event("key"));
  });
  at("key-forget").addEventListener("click", () => {
    keep("");
    at("key-dialog").close();
  });
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelectorAll("[data-close]").forEach((button) => button.addEventListener("click", () => dialog.close()));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }
}

export const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
export const number = (value, digits = 2) => (Number.isInteger(value) ? String(value) : value.toFixed(digits));

/** The distribution of a score as columns. */
export function distribution(shares, first, label) {
  // A scale up to 100 has narrow columns, of which the tens have numbers.
  const many = shares.length > 20;
  const [width, height] = [many ? 5 : 22, 40];
  const best = Math.max(...shares, 0.01);
  const text = shares.map((share, index) => [first + index, share]).filter(([, share]) => !many || share >= 0.005)
    .map(([score, share]) => `${score}: ${percent(share)}`).join(", ");
  const drawing = draw("svg", {
    class: "distribution", viewBox: `0 0 ${shares.length * width} ${height + 13}`, role: "img",
    "aria-label": `${label}: ${text}`, width: shares.length * width, height: height + 13,
  });
  drawing.append(draw("title", {}, text));
  shares.forEach((share, index) => {
    const tall = Math.max(1.5, (share / best) * height);
    drawing.append(
      draw("rect", { x: index * width + width / 11, y: height - tall, width: width * 9 / 11, height: tall, rx: 2, class: share === best ? "column most" : "column" }),
      draw("text", { x: index * width + width / 2, y: height + 11, "text-anchor": "middle" }, many && (first + index) % 10 ? "" : String(first + index)),
    );
  });
  return drawing;
}

export async function copy(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch { /* A page that is neither https nor of this machine has no clipboard of its own. */ }
  const area = make("textarea", { class: "skip" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
