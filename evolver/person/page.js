// The page draws what the rig says and keeps nothing: a mark is on the page once the rig has it.
"use strict";
const $ = (id) => document.getElementById(id);
const WORDS = {
  pick: { ask: "Click every image that you like", done: "picked" },
  rank: { ask: "Click the images you like, the best one first", done: "ranked" },
  rate: { ask: "Give stars to the images you like", done: "rated" },
};
const STARS = 5;
const PUT_OFF = "Nothing was sent of the images before. They are to come again, in another order.";
const LEAST_PX = 120;           // a smaller image is not looked at: the page scrolls instead
const TRY_LATER = 1013;         // as server.py: there are too many tabs
let socket = null, view = null, drawn = null, lost = false, crowded = false;
let columns = 1, here = 0, bigger = 0, unsure = false, unaimed = false, appeared = "";

// ------------------------------------------------------------------ the rig

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/tab`);
  socket.onmessage = (event) => {
    if (lost) drawn = null;  // what was being loaded may be in pieces
    lost = crowded = false;
    take(JSON.parse(event.data));
  };
  socket.onclose = (event) => {
    if (view && view.phase === "over") return;
    lost = true;
    crowded = event.code === TRY_LATER;
    draw();
    setTimeout(connect, 1000);
  };
}

function order(what, more) {
  if (view && view.grid && socket.readyState === WebSocket.OPEN)
    socket.send(JSON.stringify({ do: what, grid: view.grid.name, ...more }));
}

function take(next) {
  const before = view && view.grid;
  view = next;
  const grid = view.grid;
  if (!before || !grid || grid.name !== before.name || grid.marked !== before.marked) unsure = false;
  draw();
}

// ------------------------------------------------------------------ what is on the page

function draw() {
  const grid = view && view.grid;
  const open = Boolean(grid);
  $("tools").hidden = $("keys").hidden = $("grid").hidden = !open;
  $("wait").hidden = open;
  $("question").textContent = open ? (view.question || WORDS[view.mode].ask) : "";
  const how = open && view.question ? `${WORDS[view.mode].ask} · ` : "";  // else it is the question
  $("where").textContent = view && view.session ? `${how}${view.session} · ${view.answered} answered` : "";
  $("header").hidden = !$("where").textContent;
  document.title = open ? `evolver: ${grid.sizes.length} images` : "evolver: your answer";
  banner();
  more();
  if (!open) { drawn = null; $("grid").replaceChildren(); wait(); return; }
  if (drawn !== grid.name) lay(grid);
  marks(grid);
}

function banner() {
  let text = "";
  const grid = view && view.grid, open = Boolean(grid);
  if (open && lost) text = "No connection to the program behind this page: what you click now is not marked.";
  else if (open && unsure) text = "Nothing is marked. Press Send, or Enter, once more to answer that you like none.";
  else if (open && !view.connected) text = "No engine at the moment. Go on: your answer is kept until it is back.";
  else if (open && view.held) text = "The session pauses, or is about to end: send what you have.";
  else if (open && unaimed) text = "No image was chosen. This key is for the one with the frame: press it again, or move with the arrows.";
  else if (open && view.put_off && !grid.marked) text = PUT_OFF;
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

function wait() {
  const phase = view ? view.phase : "connecting";
  const texts = {
    "connecting": ["Connecting …", ""],
    "no engine": ["Waiting for an engine", view && view.news || "It is started with  evolver serve SESSION.toml"],
    "no images yet": ["No images yet", "The session may be waiting to be confirmed: at its terminal, or with  evolver ctl confirm"],
    "making": ["The next images are being made", view && view.put_off ? PUT_OFF : ""],
    "paused": ["The session is paused", "The next images come when it goes on."],
    "over": ["The session is over", view && view.news || ""],
  };
  const [text, detail] = texts[phase];
  $("waiting").textContent = crowded ? "Too many tabs show this page" : lost ? "No connection to the program behind this page" : text;
  const more = crowded ? "Close one of them: this one takes its place by itself." : lost ? "It was ended, or is started again. Its terminal says the address." : detail;
  $("detail").textContent = more.charAt(0).toUpperCase() + more.slice(1);
  $("pulse").hidden = (lost && !crowded) || phase === "over" || phase === "paused";
}

function lay(grid) {
  drawn = grid.name;
  here = 0;
  unaimed = false;
  const main = $("grid");
  main.classList.add("loading");
  const tiles = grid.sizes.map((size, place) => {
    const tile = document.createElement("div");
    tile.className = "tile";
    tile.setAttribute("role", view.mode === "rate" ? "group" : "button");
    tile.tabIndex = place === 0 ? 0 : -1;
    const picture = document.createElement("div");
    picture.className = "picture";
    const image = new Image();
    image.src = `image/${grid.name}/${place}.png`;
    image.alt = "";
    image.draggable = false;
    picture.append(image);
    tile.append(picture);
    const mark = document.createElement("div");
    mark.className = view.mode === "rate" ? "stars" : "mark";
    if (view.mode === "rate") for (let k = 1; k <= STARS; k++) {
      const star = document.createElement("span");
      star.addEventListener("click", (event) => { event.stopPropagation(); focus(place, false); rate(place, k); });
      mark.append(star);
    }
    tile.append(mark);
    tile.addEventListener("click", () => { focus(place, false); if (view.mode !== "rate") toggle(place); });
    tile.addEventListener("focus", () => { here = place; });
    return tile;
  });
  main.replaceChildren(...tiles);
  size();
  scrollTo(0, 0);
  Promise.all(tiles.map((tile) => tile.querySelector("img").decode())).catch(() => {
    if (drawn === grid.name) setTimeout(() => { drawn = null; draw(); }, 1000);
    return "again";
  }).then((failed) => {
    if (drawn !== grid.name || failed === "again") return;
    main.classList.remove("loading");
    // Twice: the first frame is being drawn, the second begins when that is on the screen.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (view.grid && view.grid.name === grid.name) { appeared = grid.name; order("appeared"); }
    }));
  });
}

function marks(grid) {
  const n = grid.sizes.length;
  [...$("grid").children].forEach((tile, place) => {
    const value = grid.marks[place];
    tile.classList.toggle("marked", value > 0);
    const mark = tile.lastChild;
    if (view.mode === "rate") {
      [...mark.children].forEach((star, k) => { star.textContent = k < value ? "★" : "☆"; });
      tile.setAttribute("aria-label", `image ${place + 1} of ${n}, ${value} stars`);
    } else {
      mark.textContent = value ? (view.mode === "rank" ? String(value) : "✓") : "";
      tile.setAttribute("aria-pressed", value ? "true" : "false");
      tile.setAttribute("aria-label", `image ${place + 1} of ${n}` + (value && view.mode === "rank" ? `, rank ${value}` : ""));
    }
  });
  $("count").textContent = `${grid.marked} of ${n} ${WORDS[view.mode].done}`;
  $("clear").textContent = grid.can_restore ? "Undo clear" : "Clear";
  $("clear").disabled = !grid.marked && !grid.can_restore;
  $("send").textContent = unsure ? "Send none" : "Send";
  $("keys").innerHTML = "<kbd>← ↑ ↓ →</kbd> move &nbsp; " +
    (view.mode === "rate" ? "<kbd>0</kbd> – <kbd>5</kbd> stars" : "<kbd>Space</kbd> mark, or take it back") +
    " &nbsp; <kbd>Esc</kbd> clear, or undo that &nbsp; <kbd>Enter</kbd> send &nbsp; <kbd>+</kbd> <kbd>−</kbd> size of the images";
}

// ------------------------------------------------------------------ size

// Longer sides are the same for all, as on a rig's screen. One pixel of an image is a whole number of
// the screen's pixels; an image that is larger than its place is reduced, and smoothed.
function size() {
  if (!view || !view.grid) return;
  const sizes = view.grid.sizes, n = sizes.length, dpr = devicePixelRatio || 1;
  const counts = new Map();
  for (const [h, w] of sizes) counts.set(Math.max(h, w), (counts.get(Math.max(h, w)) || 0) + 1);
  const long = [...counts].sort((a, b) => b[1] - a[1] || b[0] - a[0])[0][0];
  const strip = view.mode === "rate" ? 34 : 32, gap = 6, frame = 8;  // as in page.css
  const width = document.documentElement.clientWidth - 20;
  const height = innerHeight - $("grid").getBoundingClientRect().top - scrollY - 20 - $("keys").offsetHeight;
  const across = (side) => Math.min(n, Math.max(1, Math.floor((width + gap) / (side + frame + gap))));
  const fits = (side) => side + frame <= width && Math.ceil(n / across(side)) * (side + strip + gap) - gap <= height;
  const scales = [];
  for (let k = 16; k >= 1; k--) scales.push(k);
  for (let k = 18; k >= 2; k--) scales.push(k / 20);
  let at = scales.findIndex((k) => fits(k * long / dpr));
  if (at < 0 || scales[at] * long / dpr < LEAST_PX)
    at = scales.findLastIndex((k) => k * long / dpr >= Math.min(LEAST_PX, width - frame));
  at = Math.max(0, Math.min(scales.length - 1, (at < 0 ? 0 : at) - bigger));
  const side = Math.max(1, Math.floor(scales[at] * long)) / dpr;
  // Rows as long as one another, so that no place is lonelier than it must be.
  columns = Math.ceil(n / Math.ceil(n / across(side)));
  $("grid").style.gridTemplateColumns = `repeat(${columns}, max-content)`;
  [...$("grid").children].forEach((tile, place) => {
    const [h, w] = sizes[place], picture = tile.firstChild, image = picture.firstChild;
    picture.style.width = picture.style.height = `${side}px`;
    image.style.width = `${side * w / Math.max(h, w)}px`;
    image.style.height = `${side * h / Math.max(h, w)}px`;
    const times = side * dpr / Math.max(h, w);
    image.classList.toggle("between", times < 1 || Math.abs(times - Math.round(times)) > 1e-6);
  });
  more();
}

function more() {
  const below = document.documentElement.scrollHeight - innerHeight - scrollY;
  $("more").hidden = $("grid").hidden || below < 20;
}

// ------------------------------------------------------------------ what the person does

function toggle(place) {
  if (appeared === drawn) order("mark", { place, stars: view.grid.marks[place] ? 0 : 1 });
}

function rate(place, stars) {
  if (appeared === drawn) order("mark", { place, stars: view.grid.marks[place] === stars ? 0 : stars });
}

function send() {
  if (!view || !view.grid || appeared !== drawn) return;
  if (!view.grid.marked && !unsure) { unsure = true; draw(); return; }
  order("send", { nothing: unsure });
}

function clear() {
  if (!view || !view.grid) return;
  order(view.grid.can_restore ? "restore" : "clear");
}

function focus(place, seen = true) {
  const tiles = $("grid").children;
  if (!tiles[place]) return;
  for (const tile of tiles) tile.tabIndex = -1;
  here = place;
  if (unaimed) { unaimed = false; banner(); }
  tiles[place].tabIndex = 0;
  tiles[place].focus({ focusVisible: seen, preventScroll: !seen });
}

// Whether a key is for an image that the person sees is chosen; else it is shown which that would be.
function aimed() {
  if (document.activeElement.classList.contains("tile")) return true;
  focus(here);
  unaimed = true;
  banner();
  return false;
}

function move(dx, dy) {
  const tiles = [...$("grid").children];
  if (!tiles.includes(document.activeElement)) { focus(here); return; }
  const to = here + dx + dy * columns;
  if (to >= 0 && to < tiles.length) focus(to);
}

document.addEventListener("keydown", (event) => {
  if (!view || !view.grid || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.tagName === "BUTTON";
  if (unaimed) { unaimed = false; banner(); }
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key in moves) move(...moves[event.key]);
  else if (event.key === "Enter" && !(onButton && event.target.id !== "send")) { if (!event.repeat) send(); }
  else if (event.key === " " && !onButton) { if (view.mode !== "rate" && !event.repeat && aimed()) toggle(here); }
  else if (event.key === "Escape") { if (!event.repeat) clear(); }
  else if (event.key === "+" || event.key === "=") { bigger++; size(); }
  else if (event.key === "-") { bigger--; size(); }
  else if (view.mode === "rate" && /^[0-5]$/.test(event.key)) {
    if (!event.repeat && appeared === drawn && aimed()) order("mark", { place: here, stars: Number(event.key) });
  } else return;
  event.preventDefault();
});
$("send").addEventListener("click", send);
$("clear").addEventListener("click", clear);
$("again").addEventListener("click", () => order("again"));
addEventListener("resize", size);
addEventListener("scroll", more);
connect();
draw();
