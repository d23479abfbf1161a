"use strict";
// Sorting, the switch between axes, light and dark, and the view of single problems. Whatever a model wrote is set as
// textContent and never parsed.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Light and dark

const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = document.getElementById("theme");
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = name === "dark" ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Switch to ${name === "dark" ? "light" : "dark"} colours`);
}
setTheme(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
theme.addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
theme.hidden = false;

// Sorting: ascending, descending, as it was

const UNITS = { k: 1e3, M: 1e6 };
function number(cell) {  // the first number of a cell that begins with one, else null
  const found = /^([+\-−]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?: ([kM])\b)?/.exec(cell.trim());
  return found ? Number(found[1].replace("−", "-")) * (UNITS[found[2]] ?? 1) : null;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], original = [...body.rows], headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const order = { ascending: "descending", descending: null }[header.ariaSort] ?? (header.ariaSort ? null : "ascending");
      for (const other of headers) other.removeAttribute("aria-sort");
      if (order) header.setAttribute("aria-sort", order);
      body.append(...(order ? sorted(original, column, order === "ascending" ? 1 : -1) : original));
    });
  });
}

function sorted(rows, column, sign) {
  const texts = rows.map((row) => row.cells[column].textContent.trim());
  const there = texts.filter((text) => text !== "–" && text !== "");
  const numbers = texts.map(number);
  const isNumeric = 2 * numbers.filter((value) => value !== null).length >= Math.max(1, there.length);
  const keys = isNumeric ? numbers : texts.map((text) => (text === "–" || text === "" ? null : text));
  const compare = isNumeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en");
  const indices = rows.map((_, i) => i);
  indices.sort((i, j) => {
    if (keys[i] === null || keys[j] === null) return (keys[i] === null) - (keys[j] === null);
    return sign * compare(keys[i], keys[j]);
  });
  return indices.map((i) => rows[i]);
}

// One figure of several

for (const group of document.querySelectorAll(".switch")) {
  const show = () => {
    const axis = group.querySelector("input:checked").value;
    for (const figure of group.querySelectorAll("figure")) figure.hidden = figure.dataset.axis !== axis;
  };
  group.addEventListener("change", show);
  group.querySelector("fieldset").hidden = false;
  show();
}

// Single problems

const data = document.getElementById("data");
if (data) drill(JSON.parse(data.textContent));

function drill({ methods, training, test }) {
  const byId = (id) => document.getElementById(id);
  const set = byId("set"), filter = byId("filter"), problem = byId("problem"), shown = byId("shown");
  const sets = new Map();
  for (const step of new Set(training.map((entry) => entry.step))) {
    const entries = training.filter((entry) => entry.step === step);
    const same = entries.every((entry) => entry.same) && methods.length > 1;
    sets.set(`Training, step ${step}: ${same ? "same completions, different credit" : "token credit"}`, entries);
  }
  for (const domain of new Set(test.map((entry) => entry.domain))) {
    sets.set(`Test, ${domain}: after training`, test.filter((entry) => entry.domain === domain));
  }
  for (const name of sets.keys()) set.append(new Option(name));

  function label(entry) {
    const line = (entry.prompt ?? entry.problem).replace(/\s+/g, " ").trim();
    const words = line.length > 70 ? `${line.slice(0, 69)}…` : line;
    return "spread" in entry ? `${words}  (accuracies differ by ${(100 * entry.spread).toFixed(0)} points)` : `${entry.domain}: ${words}`;
  }
  function list() {
    const wanted = filter.value.toLowerCase();
    const fits = (entry) => [entry.prompt, entry.reference, entry.problem, entry.domain].some((text) => text?.toLowerCase().includes(wanted));
    const entries = sets.get(set.value);
    problem.replaceChildren(...entries.flatMap((entry, i) => (fits(entry) ? [new Option(label(entry), i)] : [])));
    show();
  }
  function move(by) {
    problem.selectedIndex += by;
    show();
  }
  function show() {
    const place = problem.selectedIndex, count = problem.options.length;
    byId("previous").disabled = place <= 0;
    byId("next").disabled = place < 0 || place === count - 1;
    byId("place").textContent = count ? `${place + 1} of ${count}` : "no problem fits";
    shown.replaceChildren(...(count ? view(sets.get(set.value)[Number(problem.value)]) : []));
  }

  function view(entry) {
    const parts = [element("h3", "", `${entry.domain}, problem ${entry.problem}`)];
    const wording = element("dl", "wording");
    for (const [name, text] of [["Prompt", entry.prompt], ["Reference", entry.reference]]) {
      const value = element("dd");
      value.append(text === null ? element("span", "hint", "not recorded") : element("pre", "", text));
      wording.append(element("dt", "", name), value);
    }
    parts.push(wording);
    if ("step" in entry) parts.push(legend(entry));
    parts.push(sideBySide(entry));
    return parts;
  }

  function sideBySide(entry) {
    const box = element("div", "scroll"), table = element("table", "side"), isTest = "spread" in entry;
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Completions of every method, side by side");
    const head = table.createTHead().insertRow(), corner = element("th", "corner", "Sample");
    corner.scope = "col";
    head.append(corner);
    entry.methods.forEach((own, i) => {
      const cell = element("th", "", methods[i]);
      cell.scope = "col";
      const colour = own.scale ? `full colour: ${Number(own.scale.toPrecision(3))}` : "no credit here";
      const summary = isTest ? `right: ${own.right} of ${own.judged}, over all seeds` : colour;
      cell.append(element("span", "hint", summary));
      head.append(cell);
    });
    const body = table.createTBody();
    const key = (completion) => (completion.mode === "greedy" ? "greedy" : String(completion.sample + 1));
    const names = [...new Set(entry.methods.flatMap((own) => own.completions.map(key)))];
    for (const name of names) {
      const row = body.insertRow(), header = element("th", "", name);
      header.scope = "row";
      row.append(header);
      entry.methods.forEach((own) => {
        const cell = row.insertCell(), index = own.completions.findIndex((completion) => key(completion) === name);
        if (index < 0) cell.append(element("span", "hint", "none recorded"));
        else cell.append(...(isTest ? tested : credited)(own.completions[index], own, entry.methods[0].completions[index]));
      });
    }
    box.append(table);
    return box;
  }

  function verdict(correct) {
    const [name, sign] = { true: ["right", "✓"], false: ["wrong", "✗"], null: ["unjudged", "?"] }[correct];
    return element("span", `verdict ${name}`, `${sign} ${name}`);
  }
  function tested(completion) {
    const parts = [verdict(completion.correct), element("pre", "", completion.text)];
    if (completion.cut) parts.push(element("p", "cut", `✂ ${completion.cut} characters more`));
    const answer = element("p", "answer");
    answer.append(element("span", "hint", "answer "), completion.answer === null ? element("i", "", "none found") : element("code", "", completion.answer));
    parts.push(answer);
    if (completion.error) parts.push(element("p", "hint", `verifier: ${completion.error}`));
    return parts;
  }

  function signed(value, digits = 4) {
    return `${value > 0 ? "+" : value < 0 ? "−" : ""}${Number(Math.abs(value).toPrecision(digits))}`;
  }
  function credited(completion, own, first) {
    const head = element("p", "reward"), text = element("pre", "heat");
    const reward = completion.reward === null ? "none" : Number(completion.reward.toPrecision(4));
    head.append(verdict(completion.correct), element("span", "hint", ` reward ${reward}`));
    const tokens = completion.tokens ?? first.tokens;
    tokens.forEach((token, i) => text.append(heat(token, completion.credit[i], own.scale)));
    const parts = [head, text];
    if (completion.cut) parts.push(element("p", "cut", `✂ ${completion.cut} tokens more`));
    if (tokens.length) {
      const [low, high] = [Math.min(...completion.credit), Math.max(...completion.credit)].map((value) => signed(value, 3));
      parts.push(element("p", "hint", low === high ? `credit ${low} on every token` : `credit ${low} to ${high}`));
    }
    return parts;
  }
  function heat(token, credit, scale) {
    const span = element("span", credit > 0 ? "up" : credit < 0 ? "down" : "", token.replaceAll("\n", "↵\n") || "∅");
    span.style.setProperty("--heat", scale ? Math.abs(credit) / scale : 0);
    span.title = `${JSON.stringify(token)}: credit ${signed(credit)}`;
    return span;
  }
  function legend(entry) {
    const line = element("p", "legend"), scale = element("span", "heat");
    scale.setAttribute("aria-hidden", "true");
    for (const share of [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1]) {
      const step = element("span", share > 0 ? "up" : share < 0 ? "down" : "", " ");
      step.style.setProperty("--heat", Math.abs(share));
      scale.append(step);
    }
    line.append(element("span", "", "made less likely (orange, −)"), scale, element("span", "", "made more likely (blue, +)"));
    line.append(element("span", "hint", "Full colour is the method's own largest |credit| on this problem; point at a token for its number."));
    if (entry.same && methods.length > 1) line.append(element("strong", "", "All methods judge the same completions here."));
    return line;
  }

  set.addEventListener("change", list);
  filter.addEventListener("input", list);
  problem.addEventListener("change", show);
  byId("previous").addEventListener("click", () => move(-1));
  byId("next").addEventListener("click", () => move(1));
  byId("drill").hidden = false;
  list();
}
