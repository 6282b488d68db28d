"use strict";
// Everything that comes from the selection is set as text: no string of it is ever read as HTML.
const MOST = 12, COLOURED = 6, PALETTE = 8;
const at = (id) => document.getElementById(id);
const colours = new Map();
let shown = {}, ended = false;

function element(kind, settings = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "class") made.className = value;
    else if (name === "on") made.addEventListener("click", value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== ""));
  return made;
}

function say(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text;
}

function percent(part) {
  if (part === null || part === undefined) return "";
  return part > 0 && part < 0.005 ? "below 1 %" : `${Math.round(100 * part)} %`;
}

function colourOf(name) {
  const first = shown.best.slice(0, COLOURED).map((one) => one.name);
  if (!first.includes(name)) return "--grey";
  if (!colours.has(name)) {
    const taken = first.map((other) => colours.get(other));
    const free = [...Array(PALETTE).keys()].map((i) => `--c${i}`).filter((one) => !taken.includes(one));
    colours.set(name, free[0]);
  }
  return colours.get(name);
}

function value(variable) {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

function lasted(seconds) {
  if (seconds < 120) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// What has the focus keeps it when its part of the page is made anew.
function keepingFocus(make) {
  const key = document.activeElement?.dataset?.key;
  make();
  if (key && document.activeElement?.dataset?.key !== key) {
    [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus();
  }
}

function head() {
  const words = { waiting: "not begun", ended: "done", failed: "ended without an answer" };
  say("task", shown.task ? `LensLLM: ${shown.task}, ${shown.target.toLocaleString("en")} training examples` : "LensLLM");
  say("status", words[shown.status] ?? shown.status);
  at("status").className = `pill ${shown.status === "running" ? "running" : ""}`;
  say("sentence", shown.sentence);
  say("detail", shown.detail ?? "");
  const first = shown.best?.[0];
  document.title = first ? `${percent(first.p)} ${first.name} - LensLLM` : "LensLLM";
}

function chances() {
  const list = at("chances"), known = new Map([...list.children].map((one) => [one.dataset.name, one]));
  const rows = [...shown.best].sort((a, b) => b.p - a.p), first = rows.slice(0, MOST), rest = rows.slice(MOST);
  first.forEach((row, place) => {
    let item = known.get(row.name);
    known.delete(row.name);
    if (!item) {
      const line = element("div", { class: "chance" }, element("span", {}, element("span", { class: "dot" }), row.name), element("b"));
      item = element("li", { "data-name": row.name }, line, element("div", { class: "track", "aria-hidden": "true" }, element("div")));
    }
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
    const colour = `var(${colourOf(row.name)})`;
    item.querySelector("b").textContent = percent(row.p);
    item.querySelector(".dot").style.background = colour;
    const bar = item.querySelector(".track > div");
    bar.style.background = colour;
    requestAnimationFrame(() => { bar.style.width = `${100 * row.p}%`; });
  });
  known.forEach((item) => item.remove());
  const share = rest.reduce((sum, one) => sum + one.p, 0);
  at("others").hidden = !rest.length;
  say("others", `${rest.length} more candidates: ${percent(share)} together.`);
}

function escaped(name) {
  return name.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function picture() {
  const traces = [], lines = [...shown.curves.lines].reverse(), target = shown.curves.target;
  for (const line of lines) {
    const colour = value(colourOf(line.name)), name = escaped(line.name);
    if (line.low.length > 1) {
      traces.push({ x: [...line.ahead, ...[...line.ahead].reverse()], y: [...line.high, ...[...line.low].reverse()],
        mode: "lines", fill: "toself", fillcolor: colour, opacity: 0.13, line: { width: 0 }, hoverinfo: "skip" });
    }
    traces.push({ x: line.ahead, y: line.mean, mode: "lines", line: { color: colour, dash: "dot", width: 2 },
      hovertemplate: `${name}<br>%{x:,.0f} examples: %{y:.3f} (forecast)<extra></extra>` });
    traces.push({ x: line.sizes, y: line.losses, mode: "lines+markers", line: { color: colour, width: 2 }, marker: { size: 7 },
      hovertemplate: `${name}<br>%{x:,.0f} examples: %{y:.3f}<extra></extra>` });
  }
  const sizes = [...new Set(lines.flatMap((line) => line.sizes))].sort((a, b) => a - b);
  const every = Math.ceil((sizes.length + 1) / (at("plot").clientWidth < 500 ? 4 : 8));
  const ticks = sizes.filter((_, place) => place % every === 0);
  if (target) ticks.push(target);
  const text = value("--text"), grid = value("--line");
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false, automargin: true, fixedrange: true };
  const layout = {
    showlegend: false, margin: { l: 10, r: 14, t: 22, b: 10 }, font: { color: text, family: "system-ui, sans-serif", size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: { ...axis, type: "log", range: ticks.length ? [Math.log10(ticks[0]) - 0.1, Math.log10(ticks.at(-1)) + 0.06] : undefined, title: { text: "training examples", standoff: 8 }, tickvals: ticks,
      ticktext: ticks.map((tick) => tick.toLocaleString("en")) },
    yaxis: { ...axis, title: { text: "test loss, nats a byte", standoff: 8 } },
    shapes: target ? [{ type: "line", x0: target, x1: target, yref: "paper", y0: 0, y1: 1, line: { color: value("--quiet"), dash: "dash", width: 1 } }] : [],
    annotations: target ? [{ x: Math.log10(target), y: 1, yref: "paper", yanchor: "bottom", xanchor: "right", showarrow: false,
      text: "all the data", font: { color: value("--quiet"), size: 12 } }] : [],
  };
  if (window.Plotly) Plotly.react(at("plot"), traces, layout, { displayModeBar: false, responsive: true });
}

function now() {
  at("now-part").hidden = !["running", "connecting"].includes(shown.status);
  at("idle").hidden = shown.now.length > 0;
  say("idle", "The next run is being chosen.");
  at("now").replaceChildren(...shown.now.map((one) => element("li", {},
    element("strong", {}, one.name), ` on ${one.what}, for `.replace("on as it came", "as it came"),
    element("span", { "data-at": one.at }, lasted(Date.now() / 1000 - one.at)),
    element("div", { class: "quiet" }, one.why))));
}

function spending() {
  const bar = at("budget"), part = shown.spending.part;
  bar.hidden = part === null;
  bar.setAttribute("aria-valuenow", Math.round(100 * (part ?? 0)));
  bar.firstElementChild.style.width = `${100 * (part ?? 0)}%`;
  at("spending").tBodies[0].replaceChildren(...shown.spending.rows.map((row) => element("tr", {},
    element("th", { scope: "row" }, row.what), element("td", {}, row.spent), element("td", {}, row.budget), element("td", {}, row.left))));
  for (const row of at("spending").rows) row.lastElementChild.hidden = shown.status === "ended";
}

function table() {
  const { scores, rows } = shown.table, drop = shown.controls.drop, states = rows.some((row) => row.state);
  const names = ["candidate", "P(best)", "forecast loss", "measured loss", ...scores, "memory to train", "tokens a second", "on a front of"];
  if (states) names.push("state");
  if (drop.length) names.push("drop");
  at("table").tHead.replaceChildren(element("tr", { role: "row" }, ...names.map((name) => element("th", { scope: "col", role: "columnheader" }, name))));
  at("table").tBodies[0].replaceChildren(...rows.map((row) => {
    const forecast = element("span", {}, row.forecast, row.interval ? element("span", { class: "quiet" }, row.interval) : "");
    const cells = [percent(row.p_best), row.forecast ? forecast : "", row.measured, ...row.scores, row.memory, row.speed, row.fronts.join(", ")];
    if (states) cells.push(row.state);
    if (drop.length) {
      cells.push(drop.includes(row.name)
        ? element("button", { type: "button", "data-key": `drop ${row.name}`, "aria-label": `Drop ${row.name}`, on: () => askDrop(row.name) }, "Drop") : "");
    }
    const dot = element("span", { class: "dot" });
    dot.style.background = `var(${colourOf(row.name)})`;
    return element("tr", { role: "row" }, element("th", { scope: "row", role: "rowheader" }, dot, row.name),
      ...cells.map((cell, place) => element("td", { role: "cell", "data-label": names[place + 1] }, cell)));
  }));
}

function controls() {
  const may = shown.controls;
  at("buttons").hidden = !may.stop && !may.budget;
  at("stop").hidden = !may.stop;
  at("add").hidden = !may.add?.length;
  at("raise").hidden = !may.budget;
  at("closed").hidden = !may.why_not;
  say("closed", may.why_not ?? "");
  at("orders-part").hidden = !shown.orders.length;
  at("orders").replaceChildren(...shown.orders.map((one) => element("li", {}, one.text, one.waits ? " (heard at the next decision)" : "")));
}

function ask({ title, text, yes, serious, amount, methods, order }) {
  say("dialog-title", title);
  say("dialog-text", text);
  say("yes", yes);
  at("yes").className = serious ? "serious" : "";
  at("amount-line").hidden = !amount;
  at("model-line").hidden = at("method-line").hidden = !methods;
  at("dialog-error").hidden = true;
  if (amount) {
    say("amount-label", amount.label);
    at("amount").value = amount.now;
  }
  if (methods) {
    at("model").value = "";
    at("method").replaceChildren(element("option", { value: "" }, "the default for its size"), ...methods.map((one) => element("option", { value: one }, one)));
  }
  at("dialog").querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    const sent = await send(order());
    at("dialog-error").hidden = !sent;
    say("dialog-error", sent);
    if (!sent) at("dialog").close();
  };
  at("dialog").showModal();
}

// Sends an order; what is wrong with it, or nothing.
async function send(order) {
  try {
    const answer = await fetch("orders", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(order) });
    return answer.ok ? "" : await answer.text();
  } catch {
    return "The connection is lost, so this could not be asked.";
  }
}

function askDrop(name) {
  ask({ title: `Drop ${name}?`, yes: "Drop it", serious: true, order: () => ({ kind: "drop", candidate: name }),
    text: "Nothing more is spent on it once its running job has ended, and it is no longer among those to choose from. This cannot be taken back." });
}

function askStop() {
  ask({ title: "Stop after the running jobs?", yes: "Stop it", serious: true, order: () => ({ kind: "stop" }),
    text: "No new run is started. What was measured is kept, and the answer is given from it. The same command does not go on after that; one with another budget does." });
}

function askBudget() {
  const { now, unit } = shown.controls.budget;
  ask({ title: "Raise the budget", yes: "Raise it", amount: { label: `The budget in all, in ${unit}`, now },
    text: `It is ${Number(now.toPrecision(6))} ${unit} now. It can be raised, not lowered.`,
    order: () => ({ kind: "budget", budget: at("amount").valueAsNumber }) });
}

function askAdd() {
  ask({ title: "Add a candidate", yes: "Add it", methods: shown.controls.add,
    text: "It is checked like the others, measured as it came, and then fine-tuned on the smallest sizes. A budget that is a part of fine-tuning everything grows with it; any other one does not.",
    order: () => ({ kind: "add", model: at("model").value, method: at("method").value }) });
}

function lists() {
  at("failures-part").hidden = !shown.failures.length;
  at("failures").replaceChildren(...shown.failures.map((one) => element("li", {},
    element("strong", {}, one.name), ` ${one.what}: ${one.error}`, element("div", { class: "quiet" }, one.remedy))));
  at("notes-part").hidden = !shown.notes.length;
  at("notes").replaceChildren(...shown.notes.map((note) => element("li", {}, note)));
  const open = new Set([...at("answers").querySelectorAll("details[open]")].map((one) => one.dataset.name));
  at("answers-part").hidden = !shown.answers.length;
  at("answers").replaceChildren(...shown.answers.map((one) => {
    const after = one.last > one.first ? `after ${one.last.toLocaleString("en")} examples` : "";
    const made = element("details", { "data-name": one.name }, element("summary", { "data-key": `answers ${one.name}` }, one.name));
    for (const row of one.rows) {
      const parts = [["prompt", row.prompt], ["wanted", row.reference], ["as it came", row.before]];
      if (after) parts.push([after, row.after]);
      made.append(element("dl", {}, ...parts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])));
    }
    made.open = open.has(one.name);
    return made;
  }));
}

function show(told) {
  shown = { best: [], curves: { lines: [] }, now: [], spending: { rows: [], part: null }, table: { scores: [], rows: [] }, failures: [], answers: [], notes: [], orders: [], controls: { drop: [] }, ...told };
  keepingFocus(() => { for (const part of [head, chances, picture, now, spending, controls, table, lists]) part(); });
}

function lost(text) {
  at("lost").hidden = !text;
  say("lost", text);
}

function listen() {
  const source = new EventSource("events");
  source.addEventListener("state", (event) => { lost(""); show(JSON.parse(event.data)); });
  source.addEventListener("end", () => {
    ended = true;
    source.close();
    lost("The page is not served any longer; this is the last that it heard.");
  });
  source.addEventListener("error", () => {
    if (ended) return;
    lost("The connection is lost; it is tried again.");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
}

at("stop").addEventListener("click", askStop);
at("add").addEventListener("click", askAdd);
at("raise").addEventListener("click", askBudget);
at("no").addEventListener("click", () => at("dialog").close());
setInterval(() => {
  for (const one of document.querySelectorAll("[data-at]")) one.textContent = lasted(Date.now() / 1000 - one.dataset.at);
}, 1000);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(shown));
listen();
