// One pair: picture, sound, both captions, all facts, its neighbours by score, and the raw record.
import { artworkTitle, ask, byId, clock, make, media, notice, number, playButton, trackTitle } from "/page/page.js";
import { card } from "/page/grid.js";

const listed = (values) => values.join(", ");
const year = (value) => (value === null ? "" : String(value));
const yes = (value) => (value ? "yes" : "no");

const ARTWORK = [
  ["Painter", (r) => r.painter], ["Title", (r) => r.artwork_title], ["Year", (r) => year(r.artwork_year)],
  ["Style", (r) => r.artwork_style], ["Subject", (r) => r.artwork_genre], ["School", (r) => r.artwork_school],
  ["Period", (r) => r.artwork_period], ["About", (r) => listed(r.artwork_tags)], ["Made of", (r) => listed(r.artwork_media)],
  ["Emotions", (r) => listed(r.artwork_emotions)],
  ["Lightness", (r) => r.artwork_lightness.toFixed(2)], ["Saturation", (r) => r.artwork_saturation.toFixed(2)],
  ["Warmth", (r) => r.artwork_warmth.toFixed(2)], ["Licence", (r) => r.artwork_license_id],
  ["Why", (r) => r.artwork_rights_reason], ["May be passed on", (r) => yes(r.artwork_redistribute)],
  ["Commercial use", (r) => yes(r.artwork_commercial)], ["Source", (r) => source(r.artwork_source, r.artwork_source_url)],
];
const TRACK = [
  ["Musician", (r) => r.musician], ["Title", (r) => r.track_title], ["Album", (r) => r.album],
  ["Genre", (r) => r.track_genre], ["Genres", (r) => listed(r.track_genres)],
  ["Tags", (r) => listed(r.track_tags)], ["Duration", (r) => clock(r.duration_s)],
  ["Tempo", (r) => `${Math.round(r.tempo_bpm)} BPM`], ["Key", (r) => r.musical_key],
  ["Loudness", (r) => `${r.rms_dbfs.toFixed(1)} dBFS`], ["Licence", (r) => r.track_license || r.track_license_id],
  ["May be passed on", (r) => yes(r.track_redistribute)], ["Commercial use", (r) => yes(r.track_commercial)],
  ["Share alike", (r) => yes(r.track_share_alike)], ["Source", (r) => source(r.track_source, r.track_source_url)],
];

export async function showPair(key) {
  let found;
  try {
    found = await ask(`/api/pair/${encodeURIComponent(key)}`);
  } catch (error) {
    byId("main").replaceChildren(notice(error.message));
    return;
  }
  const { record } = found;
  document.title = `${artworkTitle(record)} – ArtSound`;
  byId("main").replaceChildren(
    make("article", { class: "pair", "data-key": record.key },
      make("figure", { class: "picture" },
        make("img", { src: media(record.key, "jpg"), alt: record.artwork_caption }), playButton(record)),
      make("div", { class: "heads" },
        make("p", { class: "soft" }, `${record.split} · pair ${record.key}`),
        make("h1", {}, artworkTitle(record)),
        make("p", { class: "by" }, record.painter),
        make("blockquote", { id: "artwork-caption" }, record.artwork_caption,
          make("footer", {}, `Caption by ${record.artwork_captioner}`)),
        make("h2", {}, "♪ ", trackTitle(record)),
        make("blockquote", { id: "music-caption" }, record.track_caption,
          make("footer", {}, `Caption by ${record.track_captioner}`)),
        make("dl", { class: "numbers" },
          ...figure("score", record.score.toFixed(3)),
          ...figure("rank by score", `${number(found.rank)} of ${number(found.of)}`),
          ...figure("percentile", record.percentile === null ? "unknown" : record.percentile.toFixed(4)),
          ...figure("margin", record.margin.toFixed(3)),
          ...figure("bridge", record.bridge)))),
    make("div", { class: "facts" }, facts("Artwork", ARTWORK, record), facts("Music", TRACK, record)),
    row("Neighbours by score", [...found.above, ...found.below]),
    make("details", { class: "raw" }, make("summary", {}, "Raw record"),
      make("pre", { id: "raw" }, JSON.stringify(record, null, 2))),
  );
}

const figure = (name, value) => [make("div", {}, make("dt", {}, name), make("dd", {}, value))];

function facts(title, fields, record) {
  const lines = fields
    .map(([name, value]) => [name, value(record)])
    .filter(([, value]) => value !== "" && value !== null)
    .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  return make("section", {}, make("h2", {}, title), make("dl", {}, ...lines));
}

/** Where an item comes from; a link only when its address is one of the web. */
function source(name, address) {
  if (!/^https?:\/\//i.test(address)) return name;
  return make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address);
}

function row(title, pairs) {
  if (!pairs.length) return "";
  return make("section", { class: "row-of-cards" }, make("h2", {}, title),
    make("div", { class: "cards" }, ...pairs.map(card)));
}
