// Artwork, its own track and the music a model made for it, side by side.
import { artworkTitle, ask, byId, joined, make, media, notice, number, trackTitle } from "/page/page.js";

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
    ...found.pairs.map(line),
  );
}

function line(pair) {
  const made = (member) => `/generated/${encodeURIComponent(pair.key)}.${member}`;
  return make("article", { class: "compared", "data-key": pair.key },
    make("a", { href: `/pair/${encodeURIComponent(pair.key)}` },
      make("img", { src: media(pair.key, "jpg"), alt: pair.artwork_caption || artworkTitle(pair), loading: "lazy" })),
    make("div", {},
      make("h2", {}, artworkTitle(pair)),
      make("p", { class: "soft" }, joined(pair.painter, pair.split, `pair ${pair.key}`)),
      make("p", {}, pair.artwork_caption),
      pair.effect === null ? "" : make("p", { class: "soft" }, `effect of the picture ${pair.effect.toFixed(2).replace("-", "−")}`)),
    sound("Its own track", trackTitle(pair), media(pair.key, "mp3"), ""),
    sound("Generated", "from the picture alone", made("wav"), pair.spectrogram ? made("png") : ""));
}

function sound(title, text, address, picture) {
  return make("div", { role: "group", "aria-label": title },
    make("h3", {}, title),
    make("p", { class: "soft" }, text),
    make("audio", { controls: true, preload: "none", src: address, onplay: alone }),
    picture && make("img", { class: "spectrogram", src: picture, alt: "Its spectrogram", loading: "lazy" }));
}

/** One sound at a time. */
function alone(event) {
  for (const audio of document.querySelectorAll("audio"))
    if (audio !== event.target) audio.pause();
}
