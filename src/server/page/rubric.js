// A rubric on the page: one criterion a line, and the table of what each response got.
import { make, number } from "./common.js";

/** `Name (2): what it asks [yes/no]` → a criterion. Name, weight and kind may be left out. */
function criterion(line) {
  const [, head, kind] = /^(.*?)(\s*\[yes\/no\])?$/i.exec(line);
  const [, name, weight, text] = /^(?:([^:()]{1,60}?)\s*(?:\((\d+(?:\.\d+)?)\))?\s*:\s+)?(.*)$/.exec(head);
  return {
    criterion: text.trim(),
    ...(name ? { name: name.trim() } : {}),
    ...(weight ? { weight: Number(weight) } : {}),
    ...(kind ? { kind: "yes_no" } : {}),
  };
}

/** The criteria of a text, in their order. */
export const criteria = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean).map(criterion);

/** Criteria and responses: 0 to 100, the best ones of each row in bold. */
export function table(rubric, ranking) {
  const head = make("tr", {}, make("th", { scope: "col" }, "Criterion"), make("th", { scope: "col" }, "Weight"),
    ...ranking.map((name) => make("th", { scope: "col" }, name || "(no name)")));
  const rows = rubric.criteria.map((row) => {
    const values = ranking.map((name) => Math.round(100 * row.values[name]));
    const most = Math.max(...values);
    const apart = values.some((value) => value < most);
    const cell = (value) => make("td", {}, apart && value === most ? make("strong", {}, String(value)) : String(value));
    return make("tr", {}, make("th", { scope: "row", title: row.criterion }, row.name), make("td", {}, number(row.weight)), ...values.map(cell));
  });
  return make("div", { class: "rubric", tabindex: "0", role: "region", "aria-label": "What each criterion gave" },
    make("table", {}, make("caption", {}, `Each criterion, 0 to 100; merged by ${String(rubric.merge).replaceAll("_", " ")}`),
      make("thead", {}, head), make("tbody", {}, ...rows)));
}
