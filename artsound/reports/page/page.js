// Shared by all parts of the page: elements whose text is never markup, and requests to the server.

/** An element with attributes and children; strings become text, never markup. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== "" && child !== null));
  return element;
}

export const byId = (id) => document.getElementById(id);

let pages = 0; // that were opened

/** Another page is opened: answers to what earlier ones have asked come too late. */
export function turnPage() {
  pages += 1;
}

/**
 * The server's response as a value; throws an Error with the server's message; `gone`: none came.
 * Once another page is opened it does neither, unless `always`.
 */
export async function ask(address, { always = false, ...options } = {}) {
  const mine = pages;
  const answer = await answered(address, options).then((value) => ({ value }), (error) => ({ error }));
  if (mine !== pages && !always) return new Promise(() => {});
  if (answer.error) throw answer.error;
  return answer.value;
}

async function answered(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    const error = new Error("`artsound browse` does not answer: start it again. Nothing is lost.");
    error.gone = true;
    throw error;
  }
  const value = await response.json().catch(() => ({ error: `The server says ${response.status}.` }));
  if (!response.ok) throw new Error(value.error);
  return value;
}

export const post = (address, value, more = {}) =>
  ask(address, {
    ...more,
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(value),
  });

export const number = (value) => value.toLocaleString("en-GB");

/** A number of pairs: 1 pair, 2,000 pairs. */
export const pairsText = (count) => `${number(count)} ${count === 1 ? "pair" : "pairs"}`;

/** A text whose direction of writing does not reach the texts beside it. */
const isolated = (text) =>
  /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]/.test(text) ? `\u2068${text}\u2069` : text;

/** Texts in one line, without those that are empty. */
export const joined = (...texts) => texts.filter(Boolean).map(isolated).join(" · ");

export const media = (key, member) => `/media/${encodeURIComponent(key)}.${member}`;

/** A small picture of a pair, at most so many pixels wide and high. */
export const thumbnail = (key, side = 320) => `/thumb/${encodeURIComponent(key)}.jpg?s=${side}`;

/** The address of a pair's page, within the pairs that a query finds. */
export const pairAddress = (key, query = "") =>
  `/pair/${encodeURIComponent(key)}${String(query) && `?${query}`}`;

/** Title and year of an artwork, as on a museum label. */
export function artworkTitle(pair) {
  const title = isolated(pair.artwork_title || "Untitled");
  return pair.artwork_year !== null ? `${title}, ${pair.artwork_year}` : title;
}

export function trackTitle(pair) {
  const title = isolated(pair.track_title || "untitled");
  return pair.musician ? `${isolated(pair.musician)}: ${title}` : title;
}

/** A percentile, 0 to 1, never rounded up: 1 is only what no random pair exceeds. */
export function percentileText(value) {
  const digits = value >= 0.999 ? 4 : 3;
  return (Math.floor(value * 10 ** digits + 1e-6) / 10 ** digits).toFixed(digits);
}

export function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function notice(text) {
  return make("p", { class: "notice", role: "alert" }, text);
}

/** A page that has nothing but a notice, which ends in a link to all pairs. */
export function noticeWithWayBack(text) {
  const element = notice(text);
  element.append(" ", make("a", { href: "/" }, "Show all pairs"));
  return make("div", {}, make("h1", { class: "hidden" }, "Not found"), element);
}

/** Put a sentence where a picture of a pair cannot be loaded; the judge page has its own. */
export async function showLost(picture) {
  if (picture.tagName !== "IMG" || !picture.closest(".picture, .compared, .runners, .table")) return;
  const sound = picture.closest(".spectrogram");
  const text = make("span", { class: "lost" }, sound ? "There is no spectrogram." : "This picture cannot be loaded.");
  picture.replaceWith(text);
  if (!text.closest("article.pair, .spectrogram")) return;
  await ask(picture.src).catch((error) => text.append(` ${error.message}`)); // which shard, and why
}

/**
 * Play a pair in the bar at the foot of the page; pause or continue if it is there already.
 * `sound`, `small` and `page` of a pair are addresses that replace those of its key.
 */
export function play(pair) {
  const audio = byId("audio");
  if (audio.dataset.key !== pair.key) {
    audio.dataset.key = pair.key;
    audio.src = pair.sound || media(pair.key, "mp3");
    byId("player-picture").src = pair.small || thumbnail(pair.key, 160);
    const text = byId("player-text");
    text.replaceChildren(
      make("b", {}, trackTitle(pair)),
      make("span", {}, `${isolated(pair.painter || "Unknown painter")}, ${artworkTitle(pair)}`),
    );
    text.href = pair.page || pairAddress(pair.key);
    byId("player").hidden = false;
  } else if (!audio.paused) {
    audio.pause();
    return;
  }
  audio.play().catch((error) => {
    if (error.name === "NotSupportedError")
      byId("player-text").replaceChildren(make("b", { role: "alert" }, "This clip cannot be loaded."));
  });
}

/** A round button that plays a pair and shows whether it plays. */
export function playButton(pair) {
  const label = `Play ${trackTitle(pair)}`;
  return make("button", {
    class: "play",
    type: "button",
    "data-play": pair.key,
    "aria-label": label,
    title: label,
    onclick: () => play(pair),
  });
}

/** Update all play buttons to the state of the player. */
export function showPlaying() {
  const audio = byId("audio");
  for (const button of document.querySelectorAll("[data-play]")) {
    const plays = !audio.paused && button.dataset.play === audio.dataset.key;
    button.classList.toggle("playing", plays);
    button.setAttribute("aria-pressed", String(plays));
  }
}

export function stopPlaying() {
  byId("audio").pause();
  byId("player").hidden = true;
}
