// An analysis' own part of the page's script. A row is an experiment.
const NOUN = "experiments", PER_PAGE = 50;
const state = { sort: 0, descending: false, filters: [], page: 0, picked: new Set() };

function draw() {
  arrange();
  drawControls();
  drawTable();
}

function thumbs(row) {
  const made = make("span", { className: "thumbs" });
  for (const thread of DATA.threads[row])
    for (const image of thread.images) {
      const one = make("img", { src: `data:image/jpeg;base64,${image}`, alt: `${thread.name}, an image of its highest block` });
      one.style.setProperty("--c", thread.colour);
      made.append(one);
    }
  return made;
}

// Where units look, what their mean codes are and what drives them: of each thread, in its colour.
function looks(row) {
  const made = make("div", { className: "looks" });
  for (const thread of DATA.threads[row])
    for (const look of thread.looks) {
      const one = make("figure", {}, make("img", { src: `data:image/jpeg;base64,${look.jpeg}`, alt: `${thread.name}: ${look.caption}` }), make("figcaption", { textContent: look.caption }));
      one.style.setProperty("--c", thread.colour);
      made.append(one);
    }
  return made;
}

const there = (v) => v !== null && v !== undefined && Number.isFinite(v);

// The courses of an experiment; `full` with axes, errors and references.
function courses(row, width, height, full) {
  const threads = DATA.threads[row], all = [];
  for (const t of threads)
    t.mean.forEach((m, i) => {
      if (!there(m)) return;
      const error = full && there(t.sem[i]) ? t.sem[i] : 0;
      all.push(m - error, m + error);
    });
  if (full) for (const t of threads) all.push(...t.references.filter(there));
  const label = `block means of ${threads.map((t) => t.name).join(" and ")}`;
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  if (!all.length) return drawn;
  let low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
  if (low > 0 && full) low = 0;
  if (low === high) { low -= 1; high += 1; }
  const left = full ? 44 : 2, right = full ? 10 : 2, top = full ? 22 : 3, bottom = full ? 36 : 3;
  const last = Math.max(1, ...threads.map((t) => t.mean.length - 1));
  const x = (i) => left + (i / last) * (width - left - right);
  const y = (v) => top + ((high - v) / (high - low)) * (height - top - bottom);
  if (full) {
    for (const tick of ticks(low, high, 4)) {
      drawn.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
      drawn.append(svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, words(tick).replace(/\.0$/, "")));
    }
    for (const tick of ticks(0, last, 6).filter(Number.isInteger))
      drawn.append(svg("text", { x: x(tick), y: height - bottom + 16, "text-anchor": "middle" }, tick));
    drawn.append(svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "block"));
    drawn.append(svg("text", { x: 4, y: 13 }, [...new Set(threads.map((t) => t.unit))].join(", ")));
    threads.forEach((t, k) => {
      const at = t.mean.map((_, i) => i).filter((i) => there(t.mean[i]) && there(t.sem[i]));
      const points = [...at.map((i) => [i, t.mean[i] + t.sem[i]]), ...at.reverse().map((i) => [i, t.mean[i] - t.sem[i]])];
      drawn.append(svg("polygon", { class: "band", style: `--c: ${t.colour}`, points: points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }));
      // Of threads by turns, so that references that coincide are seen of each.
      const references = line(t.references, t.colour, x, y, "thin");
      references.style.strokeDasharray = `3 ${6 * threads.length - 3}`;
      references.style.strokeDashoffset = -6 * k;
      drawn.append(references);
    });
  }
  for (const t of threads) drawn.append(line(t.mean, t.colour, x, y, ""));
  return drawn;
}

function line(values, colour, x, y, kind) {
  const points = values.map((v, i) => [v, i]).filter(([v]) => there(v)).map(([v, i]) => `${x(i)},${y(v)}`);
  return svg("polyline", { class: `line ${kind}`, style: `--c: ${colour}`, points: points.join(" ") });
}

function pick(row) {
  if (!state.picked.delete(row)) state.picked.add(row);
  drawTable();
  drawCards();
}

function drawCards() {
  $("side-none").hidden = state.picked.size > 0;
  $("cards").replaceChildren(...[...state.picked].map((row) => {
    const facts = [1, 2, 3, 4].map((c) => cell(c, row)).filter((text) => text && text !== "unknown");
    const list = make("ul", {}, ...DATA.threads[row].map((t) => {
      const mark = make("i");
      mark.style.setProperty("--c", t.colour);
      return make("li", {}, mark, `${t.name}: ${t.verdict}`);
    }), ...DATA.notes[row].map((note) => make("li", { textContent: note })));
    const drop = make("button", { type: "button", textContent: "Remove", ariaLabel: `Remove ${cell(0, row)}` });
    drop.onclick = () => pick(row);
    const links = make("p", { className: "group" }, drop);
    for (const [what, href] of DATA.links[row]) links.append(make("a", { href, textContent: what }));
    return make("article", { className: "one" }, make("h3", { textContent: cell(0, row) }),
      make("p", { className: "note", textContent: facts.join(", ") }), thumbs(row), looks(row), courses(row, 340, 200, true), list, links);
  }));
}

function drawTable() {
  const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
  state.page = Math.min(state.page, pages - 1);
  const begin = state.page * PER_PAGE, rows = shown.slice(begin, begin + PER_PAGE);
  const active = document.activeElement && document.activeElement.dataset, focused = active && { ...active };
  const images = DATA.threads.some((threads) => threads.some((t) => t.images.length));
  const heads = COLUMNS.map((column, c) => {
    const button = make("button", { type: "button", textContent: column.name, title: column.title });
    button.dataset.column = c;
    button.onclick = () => sortBy(c);
    const made = make("th", { scope: "col", className: column.kind === "number" ? "n" : "" }, button);
    if (c === state.sort) made.ariaSort = state.descending ? "descending" : "ascending";
    return made;
  });
  const plain = (text) => make("th", { scope: "col", textContent: text });
  const [first, ...others] = heads;
  $("table").tHead.replaceChildren(make("tr", {}, first, plain("side by side"), ...(images ? [plain("images")] : []), plain("courses"), ...others));
  $("table").tBodies[0].replaceChildren(...rows.map((row) => {
    const picked = state.picked.has(row);
    const button = make("button", { type: "button", className: "pick", textContent: picked ? "picked" : "pick", ariaPressed: String(picked) });
    button.style.setProperty("--mark", "var(--accent)");
    button.dataset.row = row;
    button.ariaLabel = `Pick ${cell(0, row)}`;
    const cells = COLUMNS.map((column, c) => make("td", { textContent: cell(c, row), className: column.kind === "number" ? "n" : "" }));
    const [name, ...rest] = cells;
    return make("tr", {}, name, make("td", {}, button), ...(images ? [make("td", {}, thumbs(row))] : []), make("td", {}, courses(row, 130, 40, false)), ...rest);
  }));
  $("where").textContent = shown.length ? `${begin + 1}\u2013${begin + rows.length} of ${shown.length.toLocaleString("en")}` : "no experiments";
  $("back").disabled = state.page === 0;
  $("on").disabled = state.page >= pages - 1;
  if (focused) {
    const again = focused.column !== undefined ? $("table").querySelector(`[data-column="${focused.column}"]`)
      : focused.row !== undefined ? $("table").querySelector(`.pick[data-row="${focused.row}"]`) : null;
    if (again) again.focus();
  }
}

$("table").onclick = (event) => { if (event.target.classList.contains("pick")) pick(Number(event.target.dataset.row)); };
$("back").onclick = () => { state.page--; drawTable(); };
$("on").onclick = () => { state.page++; drawTable(); };
beginControls();
draw();
