// Sorts and filters the rows that a page holds; computes no statistics. A page's own script comes
// behind it and has `state` (sort, descending, filters, page), `NOUN` and `draw`.
"use strict";
const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const COLUMNS = DATA.columns;
const ROWS = COLUMNS.length ? COLUMNS[0].values.length : 0;
const SVG = "http://www.w3.org/2000/svg";
const RELATIONS = { level: ["is", "is not"], number: ["at least", "at most"], text: ["begins with", "contains"] };
for (const column of COLUMNS)
  column.whole = column.kind === "number" && column.values.every((v) => v === null || Number.isInteger(v));
let shown = [];                 // rows that pass the filters, in their order

function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function named(name) { return COLUMNS.findIndex((c) => c.name === name); }

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// As evolver.report.words.number writes them.
function words(value) {
  if (value === null || !Number.isFinite(value)) return "\u2013";
  const size = Math.abs(value);
  let text = size >= 100 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toFixed(2);
  if (Number(text) === 0) text = "0";
  return text.replace("-", "\u2212");
}

function cell(column, row) {
  const { kind, values, levels, whole } = COLUMNS[column], value = values[row];
  if (kind === "level") return levels[value];
  if (kind === "text") return value.slice(0, COLUMNS[column].letters || 12);
  if (COLUMNS[column].probability && value !== null) return value < 0.001 ? "< 0.001" : String(Number(value.toPrecision(2)));
  return whole && value !== null ? value.toLocaleString("en") : words(value);
}

// ------------------------------------------------------------------ which rows, in which order

function passes(filter, row) {
  const value = COLUMNS[filter.column].values[row];
  switch (filter.relation) {
    case "is": return value === filter.value;
    case "is not": return value !== filter.value;
    case "at least": return value !== null && value >= filter.value;
    case "at most": return value !== null && value <= filter.value;
    case "begins with": return value.startsWith(filter.value);
    default: return value.includes(filter.value);
  }
}

function arrange() {
  const { values, kind } = COLUMNS[state.sort], way = state.descending ? -1 : 1;
  shown = [];
  for (let row = 0; row < ROWS; row++)
    if (state.filters.every((filter) => passes(filter, row))) shown.push(row);
  const compared = kind === "text" ? (a, b) => (a < b ? -1 : a > b ? 1 : 0) : (a, b) => a - b;
  shown.sort((a, b) => {
    const x = values[a], y = values[b];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;  // always behind
    return way * compared(x, y) || a - b;
  });
}

function sortBy(column) {
  state.descending = column === state.sort ? !state.descending : COLUMNS[column].kind === "number";
  state.sort = column;
  state.page = 0;
  draw();
}

// ------------------------------------------------------------------ controls

function options(select, texts, chosen = 0) {
  select.replaceChildren(...texts.map((text, i) => new Option(text, i, false, i === chosen)));
}

function drawControls() {
  $("sort").value = state.sort;
  $("direction").textContent = state.descending ? "↓ largest first" : "↑ smallest first";
  $("matching").textContent = `${shown.length.toLocaleString("en")} of ${ROWS.toLocaleString("en")} ${NOUN}`;
  $("filters").replaceChildren(...state.filters.map((filter, i) => {
    const { name, kind, levels } = COLUMNS[filter.column];
    const value = kind === "level" ? levels[filter.value] : filter.value;
    const text = `${name} ${filter.relation} ${value}`;
    const button = make("button", { type: "button", textContent: `${text} \u00d7`, ariaLabel: `Remove filter: ${text}` });
    button.onclick = () => { state.filters.splice(i, 1); state.page = 0; draw(); $("add").focus(); };
    return make("li", {}, button);
  }));
}

function drawFilterForm() {
  const { kind, levels } = COLUMNS[$("filter-column").value];
  options($("filter-relation"), RELATIONS[kind]);
  $("filter-level").hidden = kind !== "level";
  $("filter-value").hidden = kind === "level";
  $("filter-value").inputMode = kind === "number" ? "decimal" : "text";
  if (kind === "level") options($("filter-level"), levels);
}

function addFilter() {
  const column = Number($("filter-column").value), { kind } = COLUMNS[column];
  const relation = RELATIONS[kind][$("filter-relation").value];
  const typed = $("filter-value").value.trim();
  const value = kind === "level" ? Number($("filter-level").value) : kind === "number" ? Number(typed) : typed;
  const bad = kind !== "level" && (typed === "" || Number.isNaN(value));
  $("filter-value").setCustomValidity(bad ? (kind === "number" ? "Give a number, as 12.5." : "Give a text.") : "");
  if (!$("filter-value").reportValidity() && bad) return;
  state.filters.push({ column, relation, value });
  state.page = 0;
  draw();
}

function head(texts, numbers = 0) {
  return make("thead", {}, make("tr", {}, ...texts.map((text, i) => make("th", { scope: "col", textContent: text, className: numbers && i >= numbers ? "n" : "" }))));
}

function beginControls() {
  const names = COLUMNS.map((c) => c.name);
  options($("sort"), names, state.sort);
  options($("filter-column"), names);
  $("sort").onchange = () => { state.sort = Number($("sort").value); state.page = 0; draw(); };
  $("direction").onclick = () => { state.descending = !state.descending; state.page = 0; draw(); };
  $("filter-column").onchange = drawFilterForm;
  $("filter-value").oninput = () => $("filter-value").setCustomValidity("");
  $("filter-value").onkeydown = (event) => { if (event.key === "Enter") { event.preventDefault(); addFilter(); } };
  $("add").onclick = addFilter;
  drawFilterForm();
}

// ------------------------------------------------------------------ figures

function svg(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Round numbers between two, some `about` of them.
function ticks(low, high, about) {
  const raw = (high - low) / about, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= raw * 0.999));
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

