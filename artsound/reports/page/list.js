// The pairs of a view as cards or as a table, of which only those near the window are elements.
import {
  artworkTitle, ask, byId, clock, joined, make, notice, pairAddress, percentileText, playButton, showPlaying, thumbnail, trackTitle,
} from "/page/page.js";

const PAGE = 48; // pairs of a request
const AROUND = 2; // rows above and below the window
const MOST_PAGES = 60; // in memory
const SETTLED = 60; // milliseconds without scrolling before pages are requested

const COLUMNS = [ // heading, column to sort by, text
  ["Artwork", "artwork_title", (pair) => artworkTitle(pair)], ["Painter", "painter", (pair) => pair.painter],
  ["Style", "artwork_style", (pair) => pair.artwork_style], ["Track", "track_title", (pair) => pair.track_title],
  ["Musician", "musician", (pair) => pair.musician], ["Genre", "track_genre", (pair) => pair.track_genre],
  ["Length", "duration_s", (pair) => clock(pair.duration_s)],
  ["Tempo", "tempo_bpm", (pair) => String(Math.round(pair.tempo_bpm))],
  ["Percentile", "percentile", (pair) => (pair.percentile === null ? "" : percentileText(pair.percentile))],
  ["Score", "score", (pair) => pair.score.toFixed(3)], ["Split", "split", (pair) => pair.split],
];

let list = null; // the one that is shown

/**
 * Show a list.
 * @param {object} options table: as a table; query: of the view, as text; view: its first answer;
 *   at: place of the pair to begin with; moved: called with the place of the first visible pair;
 *   sort: the present order, and resort: called with another.
 */
export function showList(options) {
  const { view, query, table } = options;
  list = { ...options, total: view.total, pages: new Map(), wanted: null, failed: false };
  keep(view);
  const box = byId("grid");
  box.className = table ? "table" : "cards";
  if (!view.total) {
    list = null;
    box.replaceChildren(notice(view.of ? "No pair matches: remove a filter, or change the words." : "This release has no pairs."));
    return;
  }
  const body = make("div", table
    ? { class: "body", role: "rowgroup" }
    : { class: "body", role: "feed", "aria-label": "Pairs", "aria-busy": "false" });
  if (table) box.replaceChildren(head(options), body);
  else box.replaceChildren(body);
  box.setAttribute("role", table ? "table" : "presentation");
  if (table) box.setAttribute("aria-rowcount", view.total + 1);
  else box.removeAttribute("aria-rowcount");
  list.body = body;
  list.key = query;
  body.append(element(view.start));
  measure();
  if (options.at) { // the whole height first, without which there is nothing to scroll to
    const row = Math.floor(Math.min(options.at, view.total - 1) / list.columns);
    body.style.paddingTop = `${row * list.pitch}px`;
    body.style.paddingBottom = `${(Math.ceil(view.total / list.columns) - 1 - row) * list.pitch}px`;
    window.scrollTo(0, top() + row * list.pitch - offset());
  }
  draw();
}

export function endList() {
  list = null;
}

/** Bring a pair of the list into the window and focus its link. */
export function focusPair(key) {
  byId("grid")?.querySelector(`[data-key="${CSS.escape(key)}"] a.title`)?.focus({ preventScroll: true });
}

function head({ sort, resort }) {
  return make("div", { class: "pairline head", role: "row", "aria-rowindex": 1 },
    make("span", { role: "columnheader" }, make("span", { class: "hidden" }, "Picture")),
    ...COLUMNS.map(([title, column]) => {
      const now = sort === column ? "ascending" : sort === `-${column}` ? "descending" : "none";
      return make("span", { role: "columnheader", "aria-sort": now },
        make("button", { class: "plain", type: "button",
          onclick: () => resort(now === "descending" ? column : now === "ascending" ? `-${column}` : first(column)) },
        title, make("span", { "aria-hidden": "true" }, { ascending: " ↑", descending: " ↓", none: "" }[now])));
    }));
}

// Scores are of interest from the top, names from A.
const first = (column) => (["score", "percentile"].includes(column) ? `-${column}` : column);

const top = () => list.body.getBoundingClientRect().top + window.scrollY;
const offset = () => document.querySelector("header").offsetHeight + 8;

/** How many pairs there are in a row, and from one row to the next in pixels. */
function measure() {
  const style = getComputedStyle(list.body);
  list.columns = list.table ? 1 : Math.max(1, style.gridTemplateColumns.split(" ").length);
  list.pitch = list.body.firstElementChild.offsetHeight + (parseFloat(style.rowGap) || 0);
  list.width = list.body.clientWidth;
}

/** Make the elements near the window, and remove the others. */
function draw() {
  if (!list?.body.isConnected) return;
  if (list.body.clientWidth !== list.width) remeasure();
  const { body, columns, pitch, total } = list;
  const rows = Math.ceil(total / columns);
  const above = window.scrollY - top();
  const firstRow = Math.min(Math.max(0, Math.floor(above / pitch) - AROUND), Math.max(0, rows - 1));
  const lastRow = Math.min(rows - 1, Math.max(firstRow, Math.ceil((above + window.innerHeight) / pitch) + AROUND));
  body.style.paddingTop = `${firstRow * pitch}px`;
  body.style.paddingBottom = `${(rows - 1 - lastRow) * pitch}px`;
  const start = firstRow * columns;
  const stop = Math.min(total, (lastRow + 1) * columns);
  const there = new Map();
  for (const child of [...body.children]) {
    const place = Number(child.dataset.place);
    const stale = child.classList.contains("loading") && pairAt(place);
    if (place < start || place >= stop || stale || there.has(place)) child.remove();
    else there.set(place, child);
  }
  let next = body.firstElementChild;
  for (let place = start; place < stop; place += 1) {
    const child = there.get(place);
    if (child) next = child.nextElementSibling;
    else body.insertBefore(element(place), next);
  }
  const visible = Math.min(total - 1, Math.max(0, Math.floor((above + offset()) / pitch)) * columns);
  list.moved(visible > 0 && above + offset() > pitch / 2 ? visible : 0);
  request(start, stop);
  showPlaying();
}

function remeasure() {
  const place = Number(list.body.firstElementChild?.dataset.place || 0);
  list.body.style.paddingTop = list.body.style.paddingBottom = "0";
  list.body.replaceChildren(element(place));
  measure();
}

const pairAt = (place) => list.pages.get(Math.floor(place / PAGE))?.[place % PAGE];

function keep(view) {
  list.pages.set(Math.floor(view.start / PAGE), view.pairs);
  if (list.pages.size > MOST_PAGES) list.pages.delete(list.pages.keys().next().value);
}

/** Request the pages of some places, once scrolling has ended. */
function request(start, stop) {
  clearTimeout(list.wanted);
  const missing = [];
  for (let page = Math.floor(start / PAGE); page <= Math.floor((stop - 1) / PAGE); page += 1)
    if (!list.pages.has(page)) missing.push(page);
  if (!missing.length || list.failed) return;
  list.wanted = setTimeout(load, SETTLED, list, missing);
}

async function load(mine, missing) {
  mine.body.setAttribute("aria-busy", "true");
  try {
    for (const page of missing) {
      const view = await ask(`/api/view?${mine.key}&cards=1&count=${PAGE}&start=${page * PAGE}`);
      if (mine !== list) return;
      keep(view);
    }
  } catch (error) {
    if (mine !== list) return;
    mine.failed = true;
    const again = make("button", { type: "button", onclick: () => {
      mine.failed = false;
      message.remove();
      draw();
    } }, "Try again");
    const message = notice(error.message);
    message.append(" ", again);
    byId("grid").before(message);
    return;
  }
  mine.body.setAttribute("aria-busy", "false");
  draw();
}

function element(place) {
  const pair = pairAt(place);
  const made = !pair ? make(list.table ? "div" : "article", { class: list.table ? "pairline loading" : "card loading" })
    : list.table ? line(pair, place) : card(pair, place);
  made.dataset.place = place;
  return made;
}

/** One pair in the grid; its page shows the pairs before and after it in the query. */
function card(pair, place) {
  const address = pairAddress(pair.key, list.query);
  const near = pair.closeness !== undefined ? `near ${pair.closeness.toFixed(2)}`
    : pair.percentile !== null ? `percentile ${percentileText(pair.percentile)}` : `score ${pair.score.toFixed(2)}`;
  return make(
    "article", { class: "card", "data-key": pair.key, "aria-posinset": place + 1, "aria-setsize": list.total,
      "aria-label": artworkTitle(pair) },
    make("div", { class: "picture" },
      make("a", { href: address, tabindex: "-1", "aria-hidden": "true" },
        make("img", { src: thumbnail(pair.key), alt: pair.artwork_caption || artworkTitle(pair), decoding: "async" })),
      playButton(pair)),
    make("div", { class: "text" },
      make("a", { class: "title", href: address, title: artworkTitle(pair) }, artworkTitle(pair)),
      make("span", { class: "soft" }, joined(pair.painter, pair.artwork_style)),
      make("span", { class: "track" }, "♪ ", trackTitle(pair)),
      make("span", { class: "soft" }, joined(near, clock(pair.duration_s), pair.track_genre))),
  );
}

function line(pair, place) {
  const address = pairAddress(pair.key, list.query);
  return make("div", { class: "pairline", role: "row", "data-key": pair.key, "aria-rowindex": place + 2 },
    make("span", { class: "picture", role: "cell" },
      make("img", { src: thumbnail(pair.key, 160), alt: "", decoding: "async" }), playButton(pair)),
    ...COLUMNS.map(([, , text], n) => make("span", { role: "cell", title: text(pair) || "" },
      n ? text(pair) || "" : make("a", { class: "title", href: address }, text(pair)))));
}

let drawing = 0;
const drawSoon = () => {
  if (!list || drawing) return;
  drawing = requestAnimationFrame(() => {
    drawing = 0;
    draw();
  });
};
window.addEventListener("scroll", drawSoon, { passive: true });
window.addEventListener("resize", drawSoon);
