// Two maps, of the pictures and of the music, on which a pair is a point on each.
import { artworkTitle, ask, byId, make, notice, play, thumbnail, trackTitle } from "/page/page.js";
import { current } from "/page/facets.js";

const SIDES = [["artworks", "Pictures"], ["tracks", "Music"]];
const NEAR = 12; // pixels from the pointer to a point
const STILL = 5; // pixels that a click may move
const STEPS = 1000; // of the corners of an area
const MOST_CORNERS = 100;
const ROUND = 0.06; // radius of the area that Enter selects, of the map's width

let places = null; // Uint16Array, four for each pair
let now = null; // what is drawn: found, canvases, the pair under the pointer

/** Draw the maps, with the pairs of a query in colour. */
export async function showMap(box, query, changed) {
  const wanted = new URLSearchParams(query);
  for (const name of ["at", "show"]) wanted.delete(name);
  let found;
  try {
    if (!places) places = new Uint16Array(await bytes("/api/map"));
    found = bits(new Uint8Array(await bytes(`/api/found?${wanted}`)), places.length / 4);
  } catch (error) {
    box.replaceChildren(notice(error.message));
    return;
  }
  const before = now?.maps.find((map) => map.element === document.activeElement);
  now = { found, query, changed, maps: [], hover: -1, asked: 0 };
  const tip = make("div", { class: "tip", hidden: true });
  box.replaceChildren(
    make("p", { class: "soft" }, "Each pair is a point on both maps; alike items are near one another. Draw around " +
      "points to see their pairs. With the keyboard: arrows move, Enter selects around the cross, P plays, Escape shows all."),
    make("div", { class: "maps" }, ...SIDES.map(([side, title], n) => make("figure", {},
      make("figcaption", {}, title), canvas(side, title, n)))),
    tip);
  now.tip = tip;
  for (const map of now.maps) {
    size(map);
    if (before?.side !== map.side) continue;
    map.cursor = before.cursor; // the keyboard continues where it was
    map.element.focus({ preventScroll: true });
  }
  drawAll();
}

async function bytes(address) {
  const response = await fetch(address).catch(() => {
    throw new Error("`artsound browse` does not answer: start it again. Nothing is lost.");
  });
  if (!response.ok) throw new Error((await response.json()).error);
  return response.arrayBuffer();
}

function bits(packed, count) {
  const found = new Uint8Array(count);
  for (let n = 0; n < count; n += 1) found[n] = (packed[n >> 3] >> (7 - (n & 7))) & 1;
  return found;
}

function canvas(side, title, n) {
  const element = make("canvas", { tabindex: "0", role: "img", "data-map": side,
    "aria-label": `Map of the ${title.toLowerCase()}` });
  const map = { side, n, element, cursor: [0.5, 0.5], line: null, cells: null };
  now.maps.push(map);
  element.addEventListener("pointerdown", (event) => {
    map.line = [point(map, event)];
    map.still = true; // so far: a line that returns to its beginning is no click
    map.from = [event.clientX, event.clientY];
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (map.line) {
      map.line.push(point(map, event));
      if (Math.hypot(event.clientX - map.from[0], event.clientY - map.from[1]) > STILL) map.still = false;
      drawAll();
    } else hover(map, point(map, event), event);
  });
  element.addEventListener("pointerup", (event) => {
    const line = map.line;
    map.line = null;
    if (!line || map.still) playNearest(map, point(map, event));
    else select(map, line);
  });
  element.addEventListener("pointerleave", () => !map.line && leave());
  element.addEventListener("keydown", (event) => key(map, event));
  element.addEventListener("focus", drawAll);
  element.addEventListener("blur", leave);
  return element;
}

const point = (map, event) => {
  const box = map.element.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
};

const STEP = 0.02;
function key(map, event) {
  const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
  if (moves[event.key]) {
    map.cursor = map.cursor.map((value, axis) => Math.min(1, Math.max(0, value + moves[event.key][axis])));
    hover(map, map.cursor);
  } else if (event.key === "Enter") {
    select(map, [...Array(24).keys()].map((n) => [
      map.cursor[0] + ROUND * Math.cos((n * Math.PI) / 12), map.cursor[1] + ROUND * Math.sin((n * Math.PI) / 12)]));
  } else if (event.key === "p" || event.key === "P") playNearest(map, map.cursor);
  else if (event.key === "Escape") choose("");
  else return;
  event.preventDefault();
}

/** Filter by the area within a line. */
function select(map, line) {
  const every = Math.ceil(line.length / MOST_CORNERS);
  const corners = line.filter((_, n) => n % every === 0)
    .map((corner) => corner.map((value) => Math.round(STEPS * Math.min(1, Math.max(0, value)))).join(","));
  if (corners.length >= 3) choose(`${map.side}:${corners.join(";")}`);
  else drawAll();
}

function choose(area) {
  const next = current();
  next.delete("at");
  if (area) next.set("inside", area);
  else next.delete("inside");
  now.changed(next);
}

function size(map) {
  const scale = window.devicePixelRatio || 1;
  const box = map.element.getBoundingClientRect();
  map.element.width = Math.round(box.width * scale);
  map.element.height = Math.round(box.height * scale);
}

const x = (map, pair) => places[4 * pair + 2 * map.n] / 65535;
const y = (map, pair) => places[4 * pair + 2 * map.n + 1] / 65535;

function drawAll() {
  if (!now) return;
  for (const map of now.maps) draw(map);
}

function draw(map) {
  const { element } = map;
  const context = element.getContext("2d");
  const { width, height } = element;
  if (!width) return;
  const scale = window.devicePixelRatio || 1;
  const style = getComputedStyle(element);
  const line = now.query.get("inside")?.startsWith(`${map.side}:`) ? corners(now.query.get("inside")) : null;
  if (!map.points || map.points.width !== width || map.points.colour !== style.color) map.points = paint(map, style, scale);
  context.clearRect(0, 0, width, height);
  context.drawImage(map.points.canvas, 0, 0);
  const path = map.line || line;
  if (path) {
    context.beginPath();
    path.forEach(([px, py], n) => context[n ? "lineTo" : "moveTo"](px * width, (1 - py) * height));
    if (!map.line) context.closePath();
    context.strokeStyle = style.color;
    context.lineWidth = 2 * scale;
    context.stroke();
  }
  if (now.hover >= 0) {
    context.beginPath();
    context.arc(x(map, now.hover) * width, (1 - y(map, now.hover)) * height, 8 * scale, 0, 2 * Math.PI);
    context.strokeStyle = style.color;
    context.lineWidth = 3 * scale;
    context.stroke();
  }
  if (document.activeElement === element) {
    const [cx, cy] = [map.cursor[0] * width, (1 - map.cursor[1]) * height];
    context.fillStyle = style.color;
    context.fillRect(cx - 10 * scale, cy - scale, 20 * scale, 2 * scale);
    context.fillRect(cx - scale, cy - 10 * scale, 2 * scale, 20 * scale);
  }
}

const corners = (text) => text.split(":")[1].split(";").map((corner) => corner.split(",").map((value) => value / STEPS));

/** All points, on a canvas of their own: those of the query over the others. */
function paint(map, style, scale) {
  const canvas = document.createElement("canvas");
  const { width, height } = map.element;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const count = places.length / 4;
  const side = Math.max(1.5, Math.min(5, 160 / Math.sqrt(count))) * scale;
  for (const shown of [0, 1]) {
    context.fillStyle = shown ? style.color : style.getPropertyValue("--line");
    context.globalAlpha = shown ? Math.min(1, Math.max(0.25, 40 / Math.sqrt(count))) : 0.6;
    for (let pair = 0; pair < count; pair += 1)
      if (now.found[pair] === shown)
        context.fillRect(x(map, pair) * width - side / 2, (1 - y(map, pair)) * height - side / 2, side, side);
  }
  return { canvas, width, colour: style.color };
}

/** The pair of the query nearest to a place, if one is near. */
function nearest(map, [px, py]) {
  const { width, height } = map.element.getBoundingClientRect();
  let [best, least] = [-1, NEAR * NEAR];
  for (let pair = 0; pair < now.found.length; pair += 1) {
    if (!now.found[pair]) continue;
    const [dx, dy] = [(x(map, pair) - px) * width, (y(map, pair) - py) * height];
    const distance = dx * dx + dy * dy;
    if (distance < least) [best, least] = [pair, distance];
  }
  return best;
}

function hover(map, at) {
  const pair = nearest(map, at);
  if (pair !== now.hover) {
    now.hover = pair;
    showTip(map, pair);
  }
  drawAll();
}

function leave() {
  if (!now?.tip) return;
  now.hover = -1;
  now.tip.hidden = true;
  drawAll();
}

async function showTip(map, pair) {
  const mine = ++now.asked;
  if (pair < 0) {
    now.tip.hidden = true;
    return;
  }
  const card = await ask(`/api/at/${pair}`).catch(() => null);
  if (!card || mine !== now.asked || now.hover !== pair) return;
  now.tip.replaceChildren(
    make("img", { src: thumbnail(card.key, 160), alt: "" }),
    make("span", {}, make("b", {}, artworkTitle(card)), make("span", { class: "soft" }, card.painter || ""),
      make("span", {}, "♪ ", trackTitle(card)), make("span", { class: "soft" }, card.track_genre || "")));
  const box = byId("map").getBoundingClientRect();
  const own = map.element.getBoundingClientRect();
  now.tip.hidden = false;
  const left = own.left - box.left + x(map, pair) * own.width + 14;
  now.tip.style.left = `${Math.max(0, Math.min(left, box.width - now.tip.offsetWidth))}px`;
  now.tip.style.top = `${own.top - box.top + (1 - y(map, pair)) * own.height + 14}px`;
}

async function playNearest(map, at) {
  const pair = nearest(map, at);
  if (pair < 0) return drawAll();
  hover(map, at);
  const card = await ask(`/api/at/${pair}`).catch(() => null);
  if (card) play(card);
  return undefined;
}

window.addEventListener("resize", () => {
  if (!now || !now.maps[0].element.isConnected) return;
  for (const map of now.maps) size(map);
  drawAll();
});
