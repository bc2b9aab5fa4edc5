// The page of one judgment.
import { Refusal, ask, at, copy, distribution, draw, events, key, make, number, start } from "./common.js";
import { code } from "./code.js";
import { EXAMPLE, PRINCIPLES, RUBRICS } from "./gallery.js";
import { criteria, table } from "./rubric.js";

/** The scale of each judge by its name; "" is the default one. */
const scales = new Map();
let running = null;

// Responses

function addResponse(name = "", text = "") {
  const list = at("responses");
  const taken = new Set([...list.querySelectorAll("input")].map((input) => input.value));
  if (!name) for (let count = 0; !name || taken.has(name); count += 1) name = String.fromCharCode(97 + (count % 26)) + (count < 26 ? "" : Math.floor(count / 26));
  const area = make("textarea", { rows: 3, "aria-label": "Text of the response", placeholder: "The response." });
  area.value = text;
  const input = make("input", { type: "text", "aria-label": "Name of the response", spellcheck: "false" });
  input.value = name;
  const row = make("div", { class: "response" },
    make("div", { class: "response-head" }, input,
      make("button", {
        type: "button", class: "quiet", "aria-label": "Remove this response",
        onclick: () => {
          const next = row.nextElementSibling ?? row.previousElementSibling;
          row.remove();
          count();
          (next?.querySelector("textarea") ?? at("add")).focus();
          remember();
        },
      }, "✕")),
    area);
  list.append(row);
  count();
  return area;
}

function count() {
  const buttons = at("responses").querySelectorAll(".response button");
  buttons.forEach((button) => { button.disabled = buttons.length < 2; });
}

const rows = () => [...at("responses").children].map((row) => [row.querySelector("input").value, row.querySelector("textarea").value]);

// State, request, link

function state() {
  const options = {};
  if (at("temperature").value !== "") options.temperature = Number(at("temperature").value);
  if (at("seed").value !== "") options.seed = Number(at("seed").value);
  if (!at("reasoning").checked) options.reasoning = false;
  return {
    principle: at("principle").value, prompt: at("prompt").value, responses: rows(),
    ...(at("rubric").checked ? { rubric: true } : {}),
    ...(at("compare").checked ? { other: at("other").value } : {}),
    ...(at("masked").checked ? {} : { masked: false }),
    ...(at("model").value ? { judge: at("model").value } : {}),
    ...(Object.keys(options).length ? { options } : {}),
  };
}

function show(wanted) {
  const text = (value) => (typeof value === "string" ? value : "");
  at("principle").value = text(wanted.principle);
  at("prompt").value = text(wanted.prompt);
  at("responses").replaceChildren();
  const responses = Array.isArray(wanted.responses) ? wanted.responses.slice(0, 64) : [];
  for (const one of responses) if (Array.isArray(one)) addResponse(text(one[0]), text(one[1]));
  if (!at("responses").children.length) { addResponse(); addResponse(); }
  at("compare").checked = typeof wanted.other === "string";
  at("other").value = text(wanted.other);
  at("other-field").hidden = !at("compare").checked;
  at("rubric").checked = wanted.rubric === true;
  label();
  at("masked").checked = wanted.masked !== false;
  const options = wanted.options ?? {};
  at("temperature").value = Number.isFinite(options.temperature) ? options.temperature : "";
  at("seed").value = Number.isFinite(options.seed) ? options.seed : "";
  at("reasoning").checked = options.reasoning !== false;
  at("model").dataset.wanted = text(wanted.judge);
  if ([...at("model").options].some((option) => option.value === text(wanted.judge))) at("model").value = text(wanted.judge);
}

/** What the text fields are for. */
function label() {
  const several = at("rubric").checked;
  at("principle-label").textContent = several ? "Criteria" : "Principle";
  at("rubric-hint").hidden = !several;
}

function requestOf(from, principle) {
  return {
    ...(from.rubric ? { rubric: criteria(principle) } : { principle }), prompt: from.prompt, responses: Object.fromEntries(from.responses),
    ...(from.masked === false ? { mask_responses: false } : {}),
    ...(from.options ? { options: from.options } : {}),
    ...(from.judge ? { judge: from.judge } : {}),
  };
}

/** The request as JSON. Written by hand: an object would move names that are numbers to the front. */
function json(from, principle) {
  const { responses, ...rest } = requestOf(from, principle);
  const pairs = from.responses.map(([name, text]) => `${JSON.stringify(name)}:${JSON.stringify(text)}`);
  return `{"responses":{${pairs.join(",")}},"stream":true,${JSON.stringify(rest).slice(1)}`;
}

async function squeeze(text, Stream) {
  const bytes = new Blob([text]).stream().pipeThrough(new Stream("deflate-raw"));
  return new Uint8Array(await new Response(bytes).arrayBuffer());
}

async function link() {
  const packed = await squeeze(JSON.stringify(state()), CompressionStream);
  let binary = "";
  for (const byte of packed) binary += String.fromCharCode(byte);
  return `#s=${btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

async function follow() {
  const packed = /^#s=([\w-]+)$/.exec(location.hash)?.[1];
  if (!packed) return false;
  try {
    const bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    const open = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { value, done } = await open.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      // A link from a stranger may unpack to anything.
      if (text.length > 4_000_000) throw new Error("too long");
    }
    show(JSON.parse(text));
    return true;
  } catch {
    say("The link is damaged: its request cannot be read.", true);
    return false;
  }
}

let later;
function remember() {
  clearTimeout(later);
  later = setTimeout(async () => history.replaceState(null, "", await link()), 400);
}

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

// Verdict

/** One verdict as it comes: its card, with what the events change. */
function panel(principle, title) {
  const bars = make("div", { class: "bars" });
  const each = make("div", {});
  const words = make("div", { class: "words" });
  const reasoning = make("details", { class: "reasoning", open: true }, make("summary", {}, "Reasoning"), words);
  reasoning.hidden = true;
  const notes = make("p", { class: "notes" });
  const state = make("p", { class: "turn" });
  const card = make("article", { class: "card verdict", "aria-label": title },
    make("header", {}, make("h2", {}, title), make("blockquote", {}, principle || "(no principle)")), state, bars, each, reasoning, notes);
  return { card, bars, each, words, reasoning, notes, state };
}

function names(text, aliases) {
  const pairs = Object.entries(aliases ?? {}).filter(([alias, name]) => alias !== name);
  if (!pairs.length) return text;
  const pattern = new RegExp(`(?<![\\w-])(${pairs.map(([alias]) => alias.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).sort((a, b) => b.length - a.length).join("|")})(?![\\w])`, "gi");
  const real = new Map(pairs.map(([alias, name]) => [alias.toLowerCase(), name]));
  return text.replace(pattern, (alias) => real.get(alias.toLowerCase()) ?? alias);
}

function bar(value, scale, best) {
  const share = Math.max(0, Math.min(1, (value - scale.min) / (scale.max - scale.min || 1)));
  const drawing = draw("svg", { class: best ? "bar best" : "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  drawing.append(draw("rect", { class: "rail", width: 100, height: 10 }), draw("rect", { class: "fill", width: Math.max(share * 100, 1.5), height: 10 }));
  return drawing;
}

function showVerdict(view, verdict, scale, before) {
  view.state.textContent = "";
  view.state.hidden = true;
  view.bars.replaceChildren();
  const list = make("ol", { class: "ranked" });
  verdict.ranking.forEach((name, place) => {
    const [score, expected, shares] = [verdict.scores[name], verdict.expected_scores?.[name], verdict.distributions?.[name]];
    const was = before ? before.ranking.indexOf(name) : place;
    const moved = was - place;
    list.append(make("li", {},
      make("div", { class: "who" },
        make("span", { class: "place", "aria-hidden": "true" }, String(place + 1)),
        make("span", { class: "name" }, name || "(no name)"),
        before && moved !== 0 ? make("span", { class: moved > 0 ? "up" : "down" }, `${moved > 0 ? "▲" : "▼"} ${Math.abs(moved)}`, make("span", { class: "unseen" }, moved > 0 ? " places up" : " places down")) : null),
      make("div", { class: "measure" },
        bar(expected ?? score, scale, place === 0),
        make("span", { class: "score" }, make("span", { class: "unseen" }, "score "), make("strong", {}, number(score)), make("span", { class: "of" }, ` / ${number(scale.max)}`),
          expected !== null && expected !== undefined ? make("span", { class: "expected", title: "The mean of the score's distribution" }, `expected ${expected.toFixed(2)}`) : null)),
      shares ? distribution(shares, scale.min, `How likely each score of ${name} was`) : null));
  });
  view.bars.append(list);
  view.each.replaceChildren(...(verdict.rubric ? [table(verdict.rubric, verdict.ranking)] : []));
  const words = names(verdict.reasoning, verdict.aliases);
  view.words.textContent = words;
  view.reasoning.hidden = words === "";
  const timing = verdict.timing_ms ?? {};
  const total = ["queue", "prefill", "reasoning", "verdict"].reduce((sum, phase) => sum + (timing[phase] ?? 0), 0);
  const facts = [`${(total / 1000).toFixed(2)} s`, `${verdict.usage?.prompt_tokens ?? 0} tokens read`, `${(verdict.usage?.reasoning_tokens ?? 0) + (verdict.usage?.verdict_tokens ?? 0)} written`];
  const unsure = (verdict.preferences?.pairs ?? []).filter((pair) => pair.better === null);
  for (const pair of unsure.slice(0, 6)) facts.push(`too close to call: ${pair.first} and ${pair.second}`);
  for (const flag of verdict.flags ?? []) facts.push(`flag: ${typeof flag === "string" ? flag.replaceAll("_", " ") : JSON.stringify(flag)}`);
  for (const repair of verdict.repairs ?? []) facts.push(`repair: ${typeof repair === "string" ? repair.replaceAll("_", " ") : JSON.stringify(repair)}`);
  view.notes.replaceChildren(...facts.map((fact) => make("span", {}, fact)));
}

function showFailure(view, error) {
  view.card.classList.add("failed");
  view.state.hidden = false;
  view.state.replaceChildren(make("strong", {}, (error.kind ?? "error").replaceAll("_", " ")), ` ${error.message}`);
  const raw = error.partial?.raw;
  if (raw) {
    view.words.textContent = raw;
    view.reasoning.hidden = false;
  }
}

async function judgeOne(view, body, scale, before, signal) {
  view.state.textContent = "Sent …";
  const response = await ask("/v1/judge", { method: "POST", body, accept: "text/event-stream", signal });
  for await (const [name, data] of events(response)) {
    if (name === "queued") view.state.textContent = data.place ? `Waiting: ${data.place} before this one` : "Waiting: next";
    if (name === "started") view.state.textContent = "The judge reads …";
    if (name === "reasoning") {
      view.state.textContent = "The judge reasons …";
      view.reasoning.hidden = false;
      const atEnd = view.words.scrollHeight - view.words.scrollTop - view.words.clientHeight < 40;
      view.words.append(data.text);
      if (atEnd) view.words.scrollTop = view.words.scrollHeight;
    }
    if (name === "error") throw new Refusal(data.status, data);
    if (name === "verdict") {
      showVerdict(view, data, scale, await before);
      return data;
    }
  }
  throw new Refusal(0, { detail: "the answer broke off before the verdict" });
}

/** What is wrong with a request before it is sent. */
function wrong(now) {
  if (!now.principle.trim()) return [now.rubric ? "Write a criterion first." : "Write a principle first.", at("principle")];
  if (at("compare").checked && !(now.other ?? "").trim()) return ["Write the other principle, or turn the comparison off.", at("other")];
  const given = now.responses.map(([name]) => name);
  const twice = given.findIndex((name, index) => given.indexOf(name) !== index);
  if (twice >= 0) return [`Two responses have the name “${given[twice]}”.`, at("responses").children[twice].querySelector("input")];
  return null;
}

async function judge() {
  const now = state();
  const problem = wrong(now);
  if (problem) {
    say(problem[0], true);
    problem[1].focus();
    return;
  }
  running?.abort();
  const stopper = new AbortController();
  running = stopper;
  at("stop").hidden = false;
  history.replaceState(null, "", await link());
  const scale = scales.get(now.judge ?? "") ?? { min: 1, max: 5 };
  const principles = now.other === undefined ? [now.principle] : [now.principle, now.other];
  const [one, other] = now.rubric ? ["By these criteria", "By the other ones"] : ["By this principle", "By the other one"];
  const titles = principles.length < 2 ? [one] : [one.replace(/th\w+/, "the"), other];
  const views = principles.map((principle, index) => panel(principle, titles[index]));
  at("verdicts").replaceChildren(...views.map((view) => view.card));
  at("verdicts").classList.toggle("pair", principles.length > 1);
  say("Judging …");
  // On a narrow page the verdict lies below the form.
  if (at("verdict").getBoundingClientRect().top > window.innerHeight * 0.7) at("verdict").scrollIntoView();
  let before = Promise.resolve(null);
  const works = views.map((view, index) => {
    const work = judgeOne(view, json(now, principles[index]), scale, before, stopper.signal);
    const first = work.catch(() => null);
    if (index === 0) before = first;
    return work.catch((error) => {
      if (error.name === "AbortError") error = { kind: "stopped", message: "You stopped this judgment." };
      else if (!(error instanceof Refusal)) error = { kind: "network", message: "The server cannot be reached." };
      showFailure(view, error);
      return null;
    });
  });
  const done = await Promise.all(works);
  if (running !== stopper) return;
  running = null;
  at("stop").hidden = true;
  const good = done.filter(Boolean);
  if (good.length < done.length) say(good.length ? "One of the judgments failed." : "The judgment failed.", true);
  else if (good.length < 2) say(`Done. Best: ${good[0].ranking[0]}.`);
  else say(good[0].ranking[0] === good[1].ranking[0] ? `Done. Best by both: ${good[0].ranking[0]}.` : `Done. Best: ${good[0].ranking[0]} by the principle, ${good[1].ranking[0]} by the other one.`);
}

// The rest of the page

async function judges() {
  try {
    const { data } = await (await ask("/v1/models")).json();
    const select = at("model");
    select.replaceChildren(make("option", { value: "" }, `default (${data[0]?.id ?? "none"})`), ...data.map((model) => make("option", { value: model.id }, model.id)));
    select.value = select.dataset.wanted ?? "";
    if (select.selectedIndex < 0) select.value = "";
    data.forEach((model, index) => {
      if (!model.scale) return;
      scales.set(model.id, model.scale);
      if (index === 0) scales.set("", model.scale);
    });
    const health = await (await ask("/health")).json();
    at("about").textContent = `Dicast ${health.version ?? ""}`;
  } catch { /* Said when something is judged. */ }
}

let target = "principle";
for (const [title, text] of PRINCIPLES) {
  at("principles").append(make("button", {
    type: "button", class: "principle",
    onclick: () => {
      at(target).value = text;
      at("rubric").checked = false;
      label();
      at("gallery").close();
      at(target).focus();
      remember();
    },
  }, make("strong", {}, title), make("span", {}, text)));
}
at("principles").append(make("h3", {}, "Rubrics"));
for (const [title, text] of RUBRICS) {
  at("principles").append(make("button", {
    type: "button", class: "principle",
    onclick: () => {
      at(target).value = text;
      at("rubric").checked = true;
      label();
      at("gallery").close();
      at(target).focus();
      remember();
    },
  }, make("strong", {}, title), make("span", {}, text)));
}
for (const [button, field] of [["gallery-button", "principle"], ["other-gallery", "other"]]) {
  at(button).addEventListener("click", () => { target = field; at("gallery").showModal(); });
}
at("rubric").addEventListener("change", label);
at("compare").addEventListener("change", () => {
  at("other-field").hidden = !at("compare").checked;
  if (at("compare").checked) at("other").focus();
});
at("add").addEventListener("click", () => addResponse().focus());
at("example").addEventListener("click", () => { show({ ...EXAMPLE, other: at("compare").checked ? EXAMPLE.other : undefined }); remember(); at("go").focus(); });
at("stop").addEventListener("click", () => running?.abort());
at("ask").addEventListener("input", remember);
at("ask").addEventListener("submit", (event) => { event.preventDefault(); judge(); });
at("ask").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); judge(); } });
at("copy-link").addEventListener("click", async () => {
  const hash = await link();
  history.replaceState(null, "", hash);
  await copy(location.href);
  say("The link is copied. It holds the whole request.");
});
for (const button of document.querySelectorAll("[data-code]")) {
  button.addEventListener("click", async () => {
    const now = state();
    await copy(code(button.dataset.code, requestOf(now, now.principle), location.origin, key() !== ""));
    say(`Copied as ${button.textContent}.`);
  });
}
window.addEventListener("hashchange", follow);
document.addEventListener("key", judges);

start();
if (!(await follow())) show({});
judges();
