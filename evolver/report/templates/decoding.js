// A decoding's own part of the page's script. A row is an item.
const NOUN = "items", PER_PAGE = 50;
const state = { sort: 0, descending: false, filters: [], page: 0 };

function draw() {
  arrange();
  drawControls();
  drawTable();
}

function thumbs(row) {
  const made = make("span", { className: "thumbs" }), pair = DATA.images[row];
  if (!pair) return made;
  ["shown", "decoded"].forEach((what, i) => made.append(make("img", { src: `data:image/jpeg;base64,${pair[i]}`, alt: `item ${cell(0, row)}, ${what}` })));
  return made;
}

function drawTable() {
  const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
  state.page = Math.min(state.page, pages - 1);
  const begin = state.page * PER_PAGE, rows = shown.slice(begin, begin + PER_PAGE);
  const images = DATA.images.some((pair) => pair);
  const focused = document.activeElement && document.activeElement.dataset.column;
  const [first, ...others] = COLUMNS.map((column, c) => {
    const button = make("button", { type: "button", textContent: column.name, title: column.title });
    button.dataset.column = c;
    button.onclick = () => sortBy(c);
    const made = make("th", { scope: "col", className: column.kind === "number" ? "n" : "" }, button);
    if (c === state.sort) made.ariaSort = state.descending ? "descending" : "ascending";
    return made;
  });
  const heads = images ? [first, make("th", { scope: "col", textContent: "images" }), ...others] : [first, ...others];
  $("table").tHead.replaceChildren(make("tr", {}, ...heads));
  $("table").tBodies[0].replaceChildren(...rows.map((row) => {
    const [name, ...rest] = COLUMNS.map((column, c) => make("td", { textContent: cell(c, row), className: column.kind === "number" ? "n" : "" }));
    return make("tr", {}, name, ...(images ? [make("td", {}, thumbs(row))] : []), ...rest);
  }));
  $("where").textContent = shown.length ? `${begin + 1}\u2013${begin + rows.length} of ${shown.length.toLocaleString("en")}` : "no items";
  $("back").disabled = state.page === 0;
  $("on").disabled = state.page >= pages - 1;
  if (focused !== undefined) {
    const again = $("table").querySelector(`[data-column="${focused}"]`);
    if (again) again.focus();
  }
}

$("back").onclick = () => { state.page--; drawTable(); };
$("on").onclick = () => { state.page++; drawTable(); };
beginControls();
draw();
