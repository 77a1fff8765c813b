// Artwork, its own track and the music a model made for it, side by side.
import { artworkTitle, ask, byId, joined, make, media, notice, number, trackTitle } from "/page/page.js";

// What the systems of an evaluation are called on the page, where their names say too little.
const SYSTEMS = { model: "from the picture alone" };

export async function showCompare(query) {
  const start = Number(query.get("start")) || 0;
  const lowest = query.get("sort") === "lowest";
  const address = (from, low) => `/compare?${new URLSearchParams({ ...(low ? { sort: "lowest" } : {}), start: from })}`;
  const link = (from, text) => make("a", { class: "button", href: address(from, lowest) }, text);
  let found;
  try {
    found = await ask(`/api/generated?start=${start}${lowest ? "&sort=lowest" : ""}`);
  } catch (error) {
    byId("main").replaceChildren(notice(error.message));
    return;
  }
  document.title = "Generated music – ArtSound";
  byId("name").textContent = found.name;
  const step = found.page;
  byId("main").replaceChildren(
    make("h1", { class: "hidden" }, "Generated music"),
    make("div", { class: "bar" },
      make("p", { id: "compared" }, `${number(found.total)} pieces of generated music`),
      make("nav", { "aria-label": "Pages" },
        found.measured ? make("a", { class: "button", href: address(0, !lowest) }, lowest ? "Largest effect first" : "Lowest effect first") : "",
        start > 0 ? link(Math.max(0, start - step), "Earlier") : "",
        start + step < found.total ? link(start + step, "Later") : "")),
    found.measured ? make("p", { class: "soft note" }, "The effect of the picture: how much closer a pair's own track is to the music " +
      "made from its picture than to that made from others. 0 is what chance gives.") : "",
    make("p", { class: "soft note levels" }, "Spectrograms have one scale: up to 8 kHz, and levels ", colours(found.floor),
      " in dB of full scale. Those of a row are of the same length."),
    ...found.pairs.map((pair) => line(pair, found.marks)),
  );
}

function line(pair, marks) {
  const name = encodeURIComponent(pair.key);
  const levels = (kind) => `/spectrogram/${kind}/${name}.png?seconds=${pair.seconds}`;
  return make("article", { class: "compared", "data-key": pair.key },
    make("div", {},
      make("a", { href: `/pair/${name}` },
        make("img", { src: media(pair.key, "jpg"), alt: pair.artwork_caption || artworkTitle(pair), loading: "lazy" })),
      make("h2", {}, artworkTitle(pair)),
      make("p", { class: "soft" }, joined(pair.painter, pair.split, `pair ${pair.key}`)),
      pair.effect === null ? "" : make("p", { class: "soft" }, `effect of the picture ${pair.effect.toFixed(2).replace("-", "−")}`)),
    make("div", { class: "sounds" },
      sound("Its own track", trackTitle(pair), media(pair.key, "mp3"), levels("own"), pair.seconds, marks),
      ...pair.systems.map((system) => {
        const of = new URLSearchParams({ system });
        return sound("Generated", SYSTEMS[system] || system, `/generated/${name}.wav?${of}`,
          `${levels("generated")}&${of}`, pair.seconds, marks);
      })));
}

function sound(title, text, address, levels, seconds, marks) {
  return make("div", { role: "group", "aria-label": `${title}, ${text}` },
    make("h3", {}, title),
    make("p", { class: "soft" }, text),
    make("audio", { controls: true, preload: "none", src: address, onplay: alone, onerror: lost }),
    spectrogram(`${title}, ${text}`, levels, seconds, marks));
}

/** A spectrogram with its frequencies on the left and its seconds below. */
function spectrogram(title, address, seconds, marks) {
  const hertz = marks.map(([frequency, height]) => {
    const mark = make("span", {}, frequency < 1000 ? `${frequency} Hz` : `${frequency / 1000} kHz`);
    mark.style.bottom = `${100 * height}%`;
    return mark;
  });
  const times = [0, seconds / 2, seconds].map((time) => make("span", {}, `${time} s`));
  return make("figure", { class: "spectrogram" },
    make("div", { class: "hertz", "aria-hidden": "true" }, ...hertz),
    make("img", { src: address, alt: `Spectrogram: ${title}, ${seconds} s, up to 8 kHz`, loading: "lazy" }),
    make("div", { class: "times", "aria-hidden": "true" }, ...times));
}

/** The colours of the levels, lowest first. */
const colours = (floor) => make("span", { class: "colours" }, `−${-floor} `, make("i", {}), " 0");

/** A sound that cannot be loaded gives way to a sentence. */
function lost(event) {
  event.target.replaceWith(make("p", { role: "alert" }, "This sound cannot be played."));
}

/** One sound at a time. */
function alone(event) {
  for (const audio of document.querySelectorAll("audio"))
    if (audio !== event.target) audio.pause();
}
