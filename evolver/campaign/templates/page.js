// The campaign's own part of the page's script. A run is a row's number.
const TILES = DATA.tiles, NOUN = "runs";
const COURSES = Object.fromEntries(Object.entries(DATA.courses).map(([name, text]) => [name, floats(text)]));
const IMAGES = TILES.at.filter((at) => at >= 0).length;
const PER_PAGE = 50, AT_FIRST = 2000;
const MARKS = ["#0b62a4", "#b34a00"], LETTERS = ["A", "B"];
const state = { sort: named("last"), descending: true, filters: [], picked: [null, null], page: 0, wall: AT_FIRST, unit: 0 };
const tiles = new Map();

function listed(text) { return Array.from(floats(text)); }

function draw() {
  arrange();
  drawControls();
  drawWall();
  drawTable();
}

// ------------------------------------------------------------------ images

// Percentages, so that a picture may have any size on the screen.
function picture(row) {
  const place = TILES.at[row], made = make("span", { className: "picture" });
  if (place < 0) return made;
  const perSheet = TILES.across * TILES.down, inside = place % perSheet;
  const sheet = Math.floor(place / perSheet);
  const down = Math.min(TILES.down, Math.ceil((IMAGES - sheet * perSheet) / TILES.across));
  const x = inside % TILES.across, y = Math.floor(inside / TILES.across);
  made.classList.add(`sheet-${sheet}`);
  made.style.backgroundSize = `${100 * TILES.across}% ${100 * down}%`;
  const y100 = down > 1 ? (100 * y) / (down - 1) : 0;
  made.style.backgroundPosition = `${(100 * x) / (TILES.across - 1)}% ${y100}%`;
  return made;
}

function tile(row) {
  if (tiles.has(row)) return tiles.get(row);
  const made = make("button", { type: "button", className: "tile", tabIndex: -1 }, picture(row), make("span"));
  made.dataset.row = row;
  made.title = COLUMNS.slice(0, DATA.factors.length + 1).map((c, i) => `${c.name} ${cell(i, row)}`).join(", ");
  tiles.set(row, made);
  return made;
}

function drawWall() {
  const order = shown.slice(0, state.wall), laid = order.map(tile);
  const name = COLUMNS[state.sort].name;
  order.forEach((row, i) => {
    const text = cell(state.sort, row);
    if (laid[i].lastChild.textContent !== text) laid[i].lastChild.textContent = text;
    laid[i].ariaLabel = `${laid[i].title}, ${name} ${text}`;
  });
  const kept = laid.find((one) => one.tabIndex === 0);
  for (const one of $("wall").querySelectorAll("[tabindex='0']")) if (one !== kept) one.tabIndex = -1;
  if (!kept && laid.length) laid[0].tabIndex = 0;
  $("wall").replaceChildren(...laid);
  $("more").hidden = shown.length <= state.wall;
  $("more").textContent = `Show all ${shown.length.toLocaleString("en")} images`;
  drawMarks();
}

function moveInWall(event) {
  const laid = [...$("wall").children], here = laid.indexOf(document.activeElement);
  if (here < 0) return;
  const top = laid[0].offsetTop, across = laid.findIndex((one) => one.offsetTop !== top);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -(across < 0 ? laid.length : across), ArrowDown: across < 0 ? laid.length : across }[event.key];
  const to = event.key === "Home" ? 0 : event.key === "End" ? laid.length - 1 : step === undefined ? -1 : here + step;
  if (to < 0 || to >= laid.length) { if (step !== undefined) event.preventDefault(); return; }
  event.preventDefault();
  laid[here].tabIndex = -1;
  laid[to].tabIndex = 0;
  laid[to].focus();
}

// ------------------------------------------------------------------ two runs

function pick(row) {
  const at = state.picked.indexOf(row);
  if (at >= 0) state.picked[at] = null;
  else if (state.picked[0] === null) state.picked[0] = row;
  else if (state.picked[1] === null) state.picked[1] = row;
  else state.picked = [state.picked[1], row];
  drawMarks();
  drawTwo();
}

function drawMarks() {
  for (const one of document.querySelectorAll("[aria-pressed]")) one.ariaPressed = "false";
  for (const one of [...$("wall").children, ...document.querySelectorAll(".pick")]) {
    const at = state.picked.indexOf(Number(one.dataset.row));
    if (one.ariaPressed !== String(at >= 0)) one.ariaPressed = String(at >= 0);
    if (at >= 0) {
      one.style.setProperty("--mark", MARKS[at]);
      one.dataset.mark = LETTERS[at];
    }
    if (one.classList.contains("pick")) one.textContent = at >= 0 ? LETTERS[at] : "pick";
  }
}

function drawTwo() {
  const picked = state.picked.filter((row) => row !== null);
  $("two-runs").hidden = picked.length === 0;
  $("two-none").hidden = picked.length === 2;
  if (!picked.length) { $("two-none").textContent = "Pick two runs by their images, or in the table."; return; }
  $("two-none").textContent = "Pick a second run to compare it with.";
  state.picked.forEach((row, i) => drawRun($(i ? "run-b" : "run-a"), row, i));
  const at = (name, row) => Array.from(COURSES[name].subarray(row * DATA.generations.length, (row + 1) * DATA.generations.length));
  const lines = [];
  state.picked.forEach((row, i) => {
    if (row === null) return;
    const mean = at("mean", row), sem = at("sem", row), references = COLUMNS[named("references")].values[row];
    const error = (sign) => mean.map((m, g) => (Number.isFinite(sem[g]) ? m + sign * sem[g] : m));
    lines.push({ colour: MARKS[i], values: mean, low: error(-1), high: error(1) });
    lines.push({ colour: MARKS[i], values: at("best", row), kind: "thin" });
    if (references !== null) lines.push({ colour: MARKS[i], values: DATA.generations.map(() => references), kind: "dashed" });
  });
  const units = [...new Set(picked.map((row) => cell(named("unit"), row)))];
  chart($("two-chart"), lines, `score (${units.join(", ")})`);
  drawDifferences();
}

function drawRun(place, row, i) {
  place.style.setProperty("--mark", MARKS[i]);
  place.hidden = row === null;
  if (row === null) return;
  const list = make("dl");
  for (const name of ["last", "best", "change", "digest"])
    list.append(make("dt", { textContent: name }), make("dd", { textContent: cell(named(name), row) }));
  const what = DATA.factors.map((c) => cell(c, row)).join(", ");
  place.replaceChildren(picture(row), make("div", {}, make("strong", { textContent: `${LETTERS[i]}: ${what || "this run"}` }), list));
}

function drawDifferences() {
  const [a, b] = state.picked, rows = [], same = [];
  if (a !== null && b !== null)
    COLUMNS.forEach((column, c) => {
      if (column.name === "digest") return;
      if (cell(c, a) !== cell(c, b)) rows.push([column.name, cell(c, a), cell(c, b)]);
      else same.push(`${column.name} ${cell(c, a)}`);
    });
  $("differs").replaceChildren(head(["", "A", "B"]), make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((text, i) => make(i ? "td" : "th", { textContent: text, scope: i ? "" : "row" }))))));
  $("same").textContent = same.length ? `The same in both: ${same.join(", ")}.` : "";
}

// ------------------------------------------------------------------ figures

// Lines over generations: {colour, values, low?, high?, kind?}. Drawn again when the width changes.
function chart(place, lines, label) {
  place.redraw = () => drawChart(place, lines, label);
  place.redraw();
  resized.observe(place);
}

function drawChart(place, lines, label) {
  const width = Math.max(place.clientWidth, 260), height = Math.min(340, Math.max(220, width * 0.45));
  const finite = lines.flatMap((l) => [l.values, l.low || [], l.high || []]).flat().filter((v) => v !== null && Number.isFinite(v));
  const g = DATA.generations;
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${label} by generation` });
  place.replaceChildren(drawn);
  if (!finite.length || !g.length) { drawn.append(svg("text", { x: 16, y: 30 }, "nothing was scored")); return; }
  let low = finite.reduce((a, b) => Math.min(a, b)), high = finite.reduce((a, b) => Math.max(a, b));
  if (low === high) { low -= 1; high += 1; }
  const left = 56, right = 16, top = 28, bottom = 40, last = Math.max(g[g.length - 1], 1);
  const x = (value) => left + (value / last) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  for (const tick of ticks(low, high, 5)) {
    drawn.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    drawn.append(svg("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, words(tick).replace(/\.0$/, "")));
  }
  for (const tick of ticks(0, last, Math.min(8, width / 70)).filter(Number.isInteger))
    drawn.append(svg("text", { x: x(tick), y: height - bottom + 18, "text-anchor": "middle" }, tick));
  drawn.append(svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, "generation"));
  drawn.append(svg("text", { x: 10, y: 17 }, label));
  const there = (v) => v !== null && Number.isFinite(v);
  for (const line of lines.filter((l) => l.low)) {
    const at = g.map((_, i) => i).filter((i) => there(line.low[i]) && there(line.high[i]));
    const points = [...at.map((i) => [g[i], line.high[i]]), ...at.reverse().map((i) => [g[i], line.low[i]])];
    drawn.append(svg("polygon", { class: "band", style: `--c: ${line.colour}`, points: points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }));
  }
  for (const line of lines) {
    const points = g.map((_, i) => i).filter((i) => there(line.values[i]));
    drawn.append(svg("polyline", { class: `line ${line.kind || ""}`, style: `--c: ${line.colour}`, points: points.map((i) => `${x(g[i])},${y(line.values[i])}`).join(" ") }));
  }
}

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries)
    if (target.width !== target.clientWidth) {
      target.width = target.clientWidth;
      target.redraw();
    }
});

function drawCurves() {
  const summary = DATA.by_unit[state.unit], k = Number($("curve-factor").value);
  const factor = summary && summary.factors[k];
  if (!factor) { $("curves-caption").textContent = "Nothing was varied, or nothing is done."; return; }
  const levels = COLUMNS[DATA.factors[k]].levels, banded = factor.courses.length <= 8;
  const lines = factor.courses.map((one) => ({
    colour: DATA.colours[one.level], values: listed(one.mean), ...(banded ? { low: listed(one.low), high: listed(one.high) } : {}),
  }));
  chart($("curves"), lines, `score (${summary.unit})`);
  $("legend").replaceChildren(...factor.courses.map((one) => {
    const line = make("i");
    line.style.setProperty("--c", DATA.colours[one.level]);
    return make("li", {}, line, `${levels[one.level]} (n = ${one.n})`);
  }));
  $("curves-caption").textContent = "Mean over runs of each generation's mean score, " +
    (banded ? "with the 95 % interval of that mean (Student's t over runs)" : `without intervals, which nobody could tell apart of ${factor.courses.length} levels`) +
    ". n is runs. Of all runs that are done: filters do not change it.";
}

function drawPairs() {
  const summary = DATA.by_unit[state.unit], k = Number($("pair-factor").value), m = Number($("pair-measure").value);
  const found = (summary && summary.factors[k] && summary.factors[k].pairs) || [];
  const column = DATA.factors.length ? COLUMNS[DATA.factors[k]] : { levels: [] };
  if (!found.length) {
    $("pairs").replaceChildren();
    $("pairs-caption").textContent = column.levels.length > 24
      ? `${column.name} has ${column.levels.length} levels, too many to compare.`
      : "No two runs that are done differ in this alone.";
    return;
  }
  const all = found.flatMap((one) => one.differences[m]).filter((v) => v !== null).concat(0);
  const low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
  const x = (value) => 8 + ((value - low) / span) * 224;
  $("pairs").replaceChildren(head(["", `difference in ${COLUMNS[DATA.measures[m]].name}`, "95 % interval", "n pairs", ""], 9), make("tbody", {}, ...found.map((one) => {
    const [value, from, to] = one.differences[m];
    const figure = svg("svg", { viewBox: "0 0 240 20", width: 240, height: 20, "aria-hidden": "true" });
    figure.append(svg("line", { class: "axis", x1: x(0), x2: x(0), y1: 0, y2: 20 }));
    if (from !== null) figure.append(svg("line", { class: "line", style: `--c: ${MARKS[0]}`, x1: x(from), x2: x(to), y1: 10, y2: 10 }));
    figure.append(svg("circle", { class: "dot", style: `--c: ${MARKS[0]}`, cx: x(value), cy: 10, r: 4.5 }));
    const interval = from === null ? "\u2013" : `${words(from)} to ${words(to)}`;
    return make("tr", {}, make("th", { scope: "row", textContent: `${column.levels[one.second]} less ${column.levels[one.first]}` }),
      make("td", { textContent: `${words(value)} ${summary.unit}` }), make("td", { textContent: interval }), make("td", { textContent: one.n }), make("td", {}, figure));
  })));
  $("pairs-caption").textContent = "Mean difference over pairs of runs that agree in all other factors, with a 95 % bootstrap interval over pairs (none below 5 pairs); " +
    "intervals are not corrected for their number. Of all runs that are done: filters do not change it.";
}

// ------------------------------------------------------------------ table

function drawTable() {
  const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
  state.page = Math.min(state.page, pages - 1);
  const begin = state.page * PER_PAGE, rows = shown.slice(begin, begin + PER_PAGE);
  const focused = document.activeElement && document.activeElement.dataset.column;
  $("table").tHead.replaceChildren(make("tr", {}, make("th", { scope: "col", textContent: "" }), ...COLUMNS.map((column, c) => {
    const button = make("button", { type: "button", textContent: column.name, title: column.title });
    button.dataset.column = c;
    button.onclick = () => sortBy(c);
    const made = make("th", { scope: "col", className: column.kind === "number" ? "n" : "" }, button);
    if (c === state.sort) made.ariaSort = state.descending ? "descending" : "ascending";
    return made;
  })));
  $("table").tBodies[0].replaceChildren(...rows.map((row) => {
    const button = make("button", { type: "button", className: "pick", textContent: "pick" });
    button.dataset.row = row;
    button.ariaLabel = `Pick ${COLUMNS.slice(0, DATA.factors.length).map((_, c) => cell(c, row)).join(", ")}`;
    return make("tr", {}, make("td", {}, button), ...COLUMNS.map((column, c) => make("td", { textContent: cell(c, row), className: column.kind === "number" ? "n" : "" })));
  }));
  $("where").textContent = shown.length ? `${begin + 1}\u2013${begin + rows.length} of ${shown.length.toLocaleString("en")}` : "no runs";
  $("back").disabled = state.page === 0;
  $("on").disabled = state.page >= pages - 1;
  if (focused !== undefined) { const again = $("table").querySelector(`[data-column="${focused}"]`); if (again) again.focus(); }
  drawMarks();
}

// ------------------------------------------------------------------ begin

function begin() {
  const names = COLUMNS.map((c) => c.name), factors = DATA.factors.map((c) => names[c]);
  document.documentElement.style.setProperty("--tile", TILES.side > 64 ? "104px" : "64px");
  const sizes = DATA.factors.map((c) => COLUMNS[c].levels.length);
  const few = Math.max(0, sizes.findIndex((n) => n > 1 && n <= 8));  // what can be told apart
  options($("curve-factor"), factors, few);
  options($("pair-factor"), factors, few);
  options($("pair-measure"), DATA.measures.map((c) => names[c]));
  options($("unit"), DATA.by_unit.map((one) => one.unit));
  document.querySelector(".unit-choice").hidden = DATA.by_unit.length < 2;
  $("more").onclick = () => { state.wall = Infinity; drawWall(); };
  $("wall").onclick = (event) => { const one = event.target.closest(".tile"); if (one) pick(Number(one.dataset.row)); };
  $("wall").onkeydown = moveInWall;
  $("table").onclick = (event) => { if (event.target.classList.contains("pick")) pick(Number(event.target.dataset.row)); };
  $("back").onclick = () => { state.page--; drawTable(); };
  $("on").onclick = () => { state.page++; drawTable(); };
  $("curve-factor").onchange = drawCurves;
  $("pair-factor").onchange = $("pair-measure").onchange = drawPairs;
  $("unit").onchange = () => { state.unit = Number($("unit").value); drawCurves(); drawPairs(); };
  beginControls();
  draw();
  drawCurves();
  drawPairs();
}

begin();
