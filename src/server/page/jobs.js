// The page of jobs: the list, and one job with its results.
import { ask, at, draw, make, number, start } from "./common.js";

/** Results on one page of the table, and the most that are read for plots. */
const PAGE = 50;
const MOST = 5000;
const EVERY_MS = 1500;

let timer;
let shown = null;

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

const when = (ms) => (ms ? new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–");

function lasting(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function progress(job) {
  const bar = make("progress", { max: Math.max(job.requests, 1), value: job.done, "aria-label": `Progress of ${job.name || job.id}` });
  const facts = [`${job.done} of ${job.requests}`];
  if (job.failed) facts.push(`${job.failed} failed`);
  const took = job.started_ms ? (job.ended_ms ?? Date.now()) - job.started_ms : 0;
  if (took) facts.push(lasting(took));
  if (job.state === "running" && job.done > 2) facts.push(`about ${lasting((took / job.done) * (job.requests - job.done))} left`);
  return make("div", { class: "progress" }, bar, make("span", { class: "facts" }, facts.join(" · ")), job.problem ? make("p", { class: "status bad" }, `Waiting: ${job.problem}`) : null);
}

const badge = (job) => make("span", { class: `badge ${job.state}` }, job.state);

function item(job) {
  return make("article", { class: "card job" },
    make("div", { class: "job-head" }, make("h2", {}, make("a", { href: `#${job.id}` }, job.name || job.id.slice(0, 8))), badge(job)),
    progress(job),
    make("p", { class: "facts" }, `${job.judge} · ${when(job.created_ms)}${job.expires_ms ? ` · kept until ${when(job.expires_ms)}` : ""}`));
}

async function list(before = null) {
  const { data, has_more: more } = await (await ask(`/v1/jobs?limit=20${before ? `&before=${before}` : ""}`)).json();
  const items = data.map(item);
  if (before) at("jobs").append(...items);
  else at("jobs").replaceChildren(...items);
  if (!data.length && !before) at("jobs").append(make("p", { class: "card empty" }, "No jobs yet. Upload a file of requests: one JSON object on each line, with principle, prompt and responses."));
  at("older").hidden = !more;
  at("older").onclick = () => list(data.at(-1).id);
  return data;
}

// One job

const columns = [
  ["#", (row) => row.index],
  ["id", (row) => row.id ?? ""],
  ["best", (row) => row.ranking?.[0] ?? ""],
  ["top score", (row) => (row.ranking ? row.scores[row.ranking[0]] : null)],
  ["margin", (row) => margin(row)],
  ["scores", (row) => (row.ranking ? row.ranking.map((name) => `${name} ${number(row.scores[name])}`).join(", ") : "")],
  ["tokens", (row) => (row.usage ? row.usage.reasoning_tokens + row.usage.verdict_tokens : null)],
  ["outcome", (row) => (row.pending ? "pending" : row.error ? row.error.kind : (row.flags ?? []).length ? row.flags.map(String).join(", ") : "ok")],
];

/** How far the best one is before the second. */
function margin(row) {
  if (!row.ranking || row.ranking.length < 2) return null;
  const value = (name) => row.expected_scores?.[name] ?? row.scores[name];
  return value(row.ranking[0]) - value(row.ranking[1]);
}

function table() {
  const { rows, by, down, page } = shown;
  const value = columns[by][1];
  const order = rows.map((row, place) => [value(row), place, row]);
  order.sort(([a, i], [b, j]) => {
    // What has no value comes last in either direction.
    if (a === null || b === null) return (a === null) - (b === null) || i - j;
    const less = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return (down ? -less : less) || i - j;
  });
  const head = make("tr", {}, ...columns.map(([title], index) => make("th", { scope: "col", class: ["top score", "margin", "tokens"].includes(title) ? "figure" : "", "aria-sort": index === by ? (down ? "descending" : "ascending") : "none" },
    make("button", { type: "button", onclick: () => { shown.down = index === by ? !down : false; shown.by = index; shown.page = 0; table(); at("table-box").querySelectorAll("th button")[index].focus(); } },
      title, make("span", { "aria-hidden": "true" }, index === by ? (down ? " ↓" : " ↑") : "")))));
  const pages = Math.max(1, Math.ceil(order.length / PAGE));
  const body = order.slice(page * PAGE, (page + 1) * PAGE).map(([, , row]) => make("tr", { class: row.error ? "failed" : row.pending ? "pending" : "" },
    ...columns.map(([title, of], index) => {
      const cell = of(row);
      const text = cell === null ? "" : typeof cell === "number" ? number(cell) : String(cell);
      if (index > 0) return make("td", { class: typeof cell === "number" ? "figure" : title === "scores" ? "long" : "" }, text);
      return make("th", { scope: "row" }, make("button", { type: "button", class: "link", "aria-label": `Result ${row.index}`, onclick: () => detail(row) }, text));
    })));
  at("table-box").replaceChildren(make("table", {}, make("caption", { class: "unseen" }, "Results; the buttons in the head sort the table"), make("thead", {}, head), make("tbody", {}, ...body)));
  at("page-of").textContent = `Page ${page + 1} of ${pages}${rows.length >= MOST ? ` · the first ${MOST} results` : ""}`;
  at("previous").disabled = page === 0;
  at("next").disabled = page + 1 >= pages;
}

function detail(row) {
  at("row-title").textContent = `Result ${row.index}`;
  at("row-json").textContent = JSON.stringify(row, null, 2);
  at("row-dialog").showModal();
}

/** Columns that count values. */
function columnsPlot(title, groups) {
  const [width, height, low] = [320, 120, 22];
  const most = Math.max(...groups.map(([, count]) => count), 1);
  const each = Math.min(width / Math.max(groups.length, 1), 80);
  const text = groups.map(([name, count]) => `${name}: ${count}`).join(", ");
  const drawing = draw("svg", { viewBox: `0 0 ${width} ${height + low + 14}`, role: "img", "aria-label": `${title}: ${text || "nothing yet"}` });
  groups.forEach(([name, count], index) => {
    const tall = (count / most) * height;
    drawing.append(
      draw("rect", { class: "column most", x: index * each + each * 0.12, y: 14 + height - tall, width: each * 0.76, height: Math.max(tall, 1), rx: 3 }),
      draw("text", { x: (index + 0.5) * each, y: 10 + height - tall, "text-anchor": "middle" }, String(count)),
      draw("text", { x: (index + 0.5) * each, y: 14 + height + 16, "text-anchor": "middle" }, String(name)),
    );
  });
  return make("figure", { class: "card plot" }, make("figcaption", {}, title), drawing);
}

function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts];
}

function bins(values, most) {
  if (!values.length) return [];
  const top = Math.max(...values, 0.0001);
  const step = top / most;
  const counts = Array.from({ length: most }, (_, index) => [(index * step).toFixed(1), 0]);
  for (const value of values) counts[Math.min(most - 1, Math.max(0, Math.floor(value / step)))][1] += 1;
  return counts;
}

function plots() {
  const good = shown.rows.filter((row) => row.ranking);
  const scores = tally(good.flatMap((row) => Object.values(row.scores))).sort(([a], [b]) => a - b).slice(0, 12);
  const best = tally(good.map((row) => row.ranking[0])).sort(([, a], [, b]) => b - a).slice(0, 6).map(([name, count]) => [name.length > 10 ? `${name.slice(0, 9)}…` : name, count]);
  const drawn = [columnsPlot("Scores", scores), columnsPlot("Ranked first", best), columnsPlot("Margin of the best", bins(good.map(margin).filter((value) => value !== null), 6))];
  const errors = tally(shown.rows.filter((row) => row.error).map((row) => row.error.kind.replaceAll("_", " "))).slice(0, 4);
  if (errors.length) drawn.push(columnsPlot("Errors", errors));
  at("plots").replaceChildren(...drawn);
}

/** Reads results that are not there yet. Rows that were pending are read again. */
async function results(job) {
  const first = shown.rows.findIndex((row) => row.pending);
  const from = first < 0 ? shown.rows.length : first;
  if (from >= MOST || (from >= job.requests && first < 0)) return;
  const response = await ask(`/v1/jobs/${job.id}/results?partial=true&from=${from}&limit=${MOST - from}`, { accept: "application/x-ndjson" });
  const lines = (await response.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  shown.rows.splice(from, shown.rows.length - from, ...lines);
}

async function one(id) {
  const job = await (await ask(`/v1/jobs/${id}`)).json();
  if (shown?.id !== id) shown = { id, rows: [], by: 0, down: false, page: 0, done: -1 };
  at("job-title").replaceChildren(job.name || `Job ${id.slice(0, 8)}`, " ", badge(job));
  at("job-progress").replaceChildren(progress(job));
  at("cancel").hidden = !["open", "running"].includes(job.state);
  at("cancel").onclick = () => act(`/v1/jobs/${id}/cancel`, "POST", `Cancel this job? Its ${job.done} results are kept.`);
  at("delete").onclick = async () => { if (await act(`/v1/jobs/${id}`, "DELETE", "Delete this job with all its results?")) location.hash = ""; };
  at("download").onclick = () => download(job);
  if (job.done !== shown.done || job.state !== shown.state) {
    await results(job);
    Object.assign(shown, { done: job.done, state: job.state });
    plots();
    table();
  }
  return job;
}

async function act(path, method, question) {
  if (!window.confirm(question)) return false;
  await ask(path, { method });
  await look();
  return true;
}

async function download(job) {
  // Through a fetch: a plain link would not carry the key.
  const response = await ask(`/v1/jobs/${job.id}/results?partial=true`, { accept: "application/x-ndjson" });
  const url = URL.createObjectURL(await response.blob());
  make("a", { href: url, download: `${job.name || job.id}.results.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function look() {
  clearTimeout(timer);
  const id = /^#([0-9a-f-]{36})$/.exec(location.hash)?.[1];
  at("job-view").hidden = !id;
  at("list-view").hidden = Boolean(id);
  if (!id) shown = null;
  let busy = true;
  try {
    if (id) busy = (await one(id)).state === "running";
    else busy = (await list()).some((job) => job.state === "running");
    if (at("status").classList.contains("bad")) say("");
  } catch (error) {
    at("list-view").hidden = false;
    say(error.message, true);
  }
  // A page that nobody sees asks for nothing.
  if (busy || document.hidden) timer = setTimeout(look, document.hidden ? EVERY_MS * 10 : EVERY_MS);
}

at("new-job").addEventListener("submit", async (event) => {
  event.preventDefault();
  const file = at("file").files[0];
  if (!file) return;
  say(`Uploading ${file.name} …`);
  try {
    const name = encodeURIComponent(at("name").value.trim() || file.name.slice(0, 200));
    const job = await (await ask(`/v1/jobs?name=${name}`, { method: "POST", body: file, type: "application/x-ndjson" })).json();
    say("");
    location.hash = `#${job.id}`;
  } catch (error) {
    say(error.message, true);
  }
});
at("previous").addEventListener("click", () => { shown.page -= 1; table(); });
at("next").addEventListener("click", () => { shown.page += 1; table(); });
at("back").addEventListener("click", (event) => { event.preventDefault(); location.hash = ""; });
window.addEventListener("hashchange", look);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
document.addEventListener("key", look);

start();
look();
