// One pair: picture, sound, both captions, why it was made, all facts, and the raw record.
import {
  artworkTitle, ask, byId, clock, joined, make, media, notice, noticeWithWayBack, number, pairAddress,
  percentileText, playButton, post,
  showPlaying, thumbnail, trackTitle,
} from "/page/page.js";

const LONG = 120; // characters of a title that is shown smaller
const SHOWN = 12; // parts of the score that are shown before all are

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
  ["Grounds of the licence", (r) => r.artwork_rights_reason], ["Redistributable", (r) => yes(r.artwork_redistribute)],
  ["Commercial use", (r) => yes(r.artwork_commercial)], ["Source", (r) => source(r.artwork_source, r.artwork_source_url)],
];
const TRACK = [
  ["Musician", (r) => r.musician], ["Title", (r) => r.track_title], ["Album", (r) => r.album],
  ["Genre", (r) => r.track_genre], ["Genres", (r) => listed(r.track_genres)],
  ["Tags", (r) => listed(r.track_tags)], ["Duration", (r) => clock(r.duration_s)],
  ["Tempo", (r) => `${Math.round(r.tempo_bpm)} BPM`], ["Key", (r) => r.key_name],
  ["Loudness", (r) => `${r.rms_dbfs.toFixed(1)} dBFS`], ["Licence", (r) => r.track_license || r.track_license_id],
  ["Redistributable", (r) => yes(r.track_redistribute)], ["Commercial use", (r) => yes(r.track_commercial)],
  ["Share alike", (r) => yes(r.track_share_alike)], ["Source", (r) => source(r.track_source, r.track_source_url)],
];

/** Show a pair by its key as it is in the address. */
export async function showPair(key, address) {
  const query = new URLSearchParams(address);
  const show = query.get("show");
  for (const name of ["at", "show"]) query.delete(name);
  let found;
  try {
    found = await ask(`/api/pair/${key}?${query}`);
  } catch (error) {
    document.title = "Unknown pair – ArtSound";
    byId("main").replaceChildren(noticeWithWayBack(error.message));
    return;
  }
  const { record } = found;
  const why = make("section", { class: "why", "aria-label": "Why this pair" }, make("h2", {}, "Why this pair"),
    placed(record), make("div", { id: "why" }));
  document.title = `${artworkTitle(record)} – ArtSound`;
  byId("main").replaceChildren(
    make("nav", { class: "steps", "aria-label": "Pairs" },
      make("a", { href: allAddress(query, show, found.place) }, "All of this view"),
      make("span", { class: "soft" }, `${number(found.place)} of ${number(found.total)}`),
      step("Previous", found.previous, query), step("Next", found.next, query)),
    make("article", { class: "pair", "data-key": record.key },
      make("figure", { class: "picture" },
        make("img", { src: media(record.key, "jpg"), alt: record.artwork_caption || artworkTitle(record) }), playButton(record)),
      make("div", { class: "heads" },
        make("p", { class: "soft" }, `${record.split} · pair ${record.key}`),
        make("h1", { class: artworkTitle(record).length > LONG && "long" }, artworkTitle(record)),
        make("p", { class: "by" }, record.painter),
        make("blockquote", { id: "artwork-caption" }, record.artwork_caption || "No caption",
          make("footer", {}, `Captioner: ${record.artwork_captioner}`)),
        make("h2", { class: trackTitle(record).length > LONG && "long" }, "♪ ", trackTitle(record)),
        make("blockquote", { id: "music-caption" }, record.track_caption || "No caption",
          make("footer", {}, `Captioner: ${record.track_captioner}`)),
        make("dl", { class: "numbers" },
          ...figure("percentile", record.percentile === null ? "unknown" : percentileText(record.percentile)),
          ...figure("rank by score", `${number(found.rank)} of ${number(found.of)}`),
          ...figure("score", record.score.toFixed(3)),
          ...figure("margin", record.margin.toFixed(3)),
          ...figure("bridge", record.bridge)),
        make("p", { class: "likes" },
          make("a", { class: "button", href: `/?like=picture:${encodeURIComponent(record.key)}` }, "Pictures like this"),
          make("a", { class: "button", href: `/?like=music:${encodeURIComponent(record.key)}` }, "Music like this")),
        found.saves ? noteBox(record.key, found) : "")),
    why,
    make("div", { id: "near" }),
    make("div", { class: "facts" }, facts("Artwork", ARTWORK, record), facts("Music", TRACK, { ...record, key_name: found.key_name })),
    make("details", { class: "raw" }, make("summary", {}, "Raw record"),
      make("pre", { id: "raw" }, JSON.stringify(record, null, 2))),
  );
  await Promise.all([showWhy(record), showNear(record)]);
}

/** The list with this pair in the window. */
function allAddress(query, show, place) {
  const all = new URLSearchParams(query);
  if (show) all.set("show", show);
  if (place > 1) all.set("at", place - 1);
  return String(all) ? `/?${all}` : "/";
}

/** A flag and a note, which everyone who browses this folder sees. */
function noteBox(key, { flag, note }) {
  const box = make("input", { type: "checkbox", id: "flag", checked: flag, onchange: () => save() });
  const text = make("textarea", { id: "note", rows: "2", maxlength: "2000", "aria-label": "Note",
    placeholder: "A note on this pair", onchange: () => save() });
  text.value = note;
  const status = make("span", { class: "soft", role: "status" });
  const save = async () => {
    try {
      await post("/api/note", { key, flag: box.checked, note: text.value });
      status.textContent = "Saved.";
    } catch (error) {
      status.textContent = error.message;
    }
  };
  return make("div", { class: "noted" }, make("label", {}, box, " Flag"), text, status);
}

const step = (text, key, query) =>
  key === null ? "" : make("a", { class: "button", href: pairAddress(key, query) }, text);
const percent = (share) => `${(100 * percentileText(share)).toFixed(share >= 0.999 ? 2 : 1)} %`;
const nth = (rank) => (rank === 1 ? "the best" : `number ${number(rank)}`);

// The arrow keys, J and K go to the pairs before and after this one, except where they do something else.
document.addEventListener("keydown", (event) => {
  const to = { ArrowLeft: "Previous", ArrowRight: "Next", k: "Previous", j: "Next" }[event.key];
  const taken = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented;
  if (!to || taken || document.body.dataset.page !== "pair" || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea, audio, pre")) return;
  [...document.querySelectorAll(".steps a.button")].find((link) => link.textContent === to)?.click();
});

/** What the index itself says of a pair's score. */
function placed(record) {
  const sentences = [];
  if (record.percentile !== null)
    sentences.push(`Its score is higher than that of ${percent(record.percentile)} of random pairs of the split ${record.split}.`);
  if (record.track_rank !== null && record.artwork_rank !== null)
    sentences.push(`Of all artworks of the split, this one is ${nth(record.track_rank)} for the track; ` +
      `of all tracks, this one is ${nth(record.artwork_rank)} for the artwork.`);
  const gap = Math.abs(record.margin).toFixed(4);
  sentences.push(record.margin >= 0
    ? `The best other artwork for the track scores ${gap} less.`
    : `Another artwork scores ${gap} more for the track, and belongs to another pair.`);
  return make("p", {}, sentences.join(" "));
}

/** The parts of the score and the runners-up, which need files beside the index. */
async function showWhy(record) {
  const box = byId("why");
  let found;
  try {
    found = await ask(`/api/why/${encodeURIComponent(record.key)}`);
  } catch (error) {
    box.replaceChildren(notice(error.message));
    return;
  }
  if (!box.isConnected) return; // another pair is shown by now
  const { artwork, track } = found.runners_up;
  box.replaceChildren(
    ...(found.parts.length ? [partsTable(found.parts, record)] : []),
    make("div", { class: "runners" },
      runners("Best other tracks for this artwork", artwork, record, otherTrack),
      runners("Best other artworks for this track", track, record, otherArtwork)));
  const missing = [];
  if (!found.parts.length)
    missing.push(found.build ? `The bridge ${record.bridge} has no named parts, or its vectors are no longer there.`
      : "The parts of the score are in the build that these shards came from, which is not beside them.");
  if (!artwork.length && !track.length && !found.build)
    missing.push("The release has no runners-up: shards.retrieval in the recipe adds them.");
  if (missing.length) box.append(make("p", { class: "soft" }, missing.join(" ")));
  showPlaying();
}

/** The pairs with the nearest pictures as cards, and those with the nearest music as players. */
async function showNear(record, more = "") {
  const box = byId("near");
  let found;
  try {
    found = await ask(`/api/near/${encodeURIComponent(record.key)}${more}`);
  } catch (error) {
    box.replaceChildren(notice(error.message));
    return;
  }
  if (!box.isConnected) return; // another pair is shown by now
  if (found.fetch) {
    box.replaceChildren(make("section", { class: "nearest" }, make("h2", {}, "Nearest pictures and music"),
      make("p", { class: "soft" }, `They need the vectors of all pairs: at most ${found.fetch} from ${found.from}.`),
      make("p", {}, make("button", { type: "button", onclick: async (event) => {
        event.target.disabled = true;
        event.target.textContent = "Fetching …";
        await showNear(record, "?fetch=1");
        box.querySelector("a.title, button")?.focus(); // the keyboard continues here
      } }, "Show them"))));
    return;
  }
  if (found.picture.error && found.music.error) {
    box.replaceChildren(make("section", { class: "nearest" }, make("h2", {}, "Nearest pictures and music"),
      make("p", { class: "soft" }, found.picture.error)));
    return;
  }
  const part = (title, kind, list) => make("section", { class: "nearest", "data-near": kind },
    make("h2", {}, title),
    found[kind].error ? make("p", { class: "soft" }, found[kind].error)
      : found[kind].pairs.length ? list(found[kind].pairs) : make("p", { class: "soft" }, "There is no other."),
    found[kind].pairs.length
      ? make("a", { class: "soft", href: `/?like=${kind}:${encodeURIComponent(record.key)}` }, "All, nearest first") : "");
  box.replaceChildren(
    part("Nearest pictures", "picture", (pairs) => make("div", { class: "row-of-cards" }, ...pairs.map(nearPicture))),
    part("Nearest music", "music", (pairs) => make("ol", { class: "players" }, ...pairs.map((pair) =>
      make("li", { "data-key": pair.key }, ...otherTrack(pair), likenessOf(pair))))));
  showPlaying();
}

const likenessOf = (pair) => make("span", { class: "soft score", title: "Likeness, at most 1" }, pair.closeness.toFixed(2));

/** Another picture, with the music of its own pair. */
const nearPicture = (pair) => make("article", { class: "card", "data-key": pair.key, "aria-label": artworkTitle(pair) },
  make("div", { class: "picture" },
    make("a", { href: pairAddress(pair.key), tabindex: "-1", "aria-hidden": "true" },
      make("img", { src: thumbnail(pair.key), alt: pair.artwork_caption || artworkTitle(pair), loading: "lazy" })),
    playButton(pair)),
  make("div", { class: "text" },
    make("a", { class: "title", href: pairAddress(pair.key), title: artworkTitle(pair) }, artworkTitle(pair)),
    make("span", { class: "soft" }, joined(pair.painter, pair.artwork_style)),
    make("span", { class: "soft" }, `near ${pair.closeness.toFixed(2)}`)));

/** One row for each axis or concept: the picture and the music on one line, and the share. */
function partsTable(parts, record) {
  const values = parts.flatMap((part) => [part.artwork, part.track, ...(part.range || [0])]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const at = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
  const mark = (side, value) => {
    const dot = make("i", { class: `mark ${side}` });
    dot.style.left = at(value);
    return dot;
  };
  const line = (part) => {
    const between = make("i", { class: "between" });
    between.style.left = at(Math.min(part.artwork, part.track));
    between.style.right = `calc(100% - ${at(Math.max(part.artwork, part.track))})`;
    const share = record.score ? `${((100 * part.share) / record.score).toFixed(1)} %` : part.share.toFixed(4);
    return make("tr", { class: "part" },
      make("th", { scope: "row" }, part.name),
      make("td", { "aria-hidden": "true" },
        make("span", { class: "line" }, between, mark("artwork", part.artwork), mark("track", part.track))),
      make("td", {}, part.artwork.toFixed(2)), make("td", {}, part.track.toFixed(2)), make("td", {}, share));
  };
  const body = make("tbody", {}, ...parts.slice(0, SHOWN).map(line));
  const all = parts.length > SHOWN && make("button", { class: "plain", type: "button", onclick: (event) => {
    body.append(...parts.slice(SHOWN).map(line));
    event.target.remove();
  } }, `Show all ${number(parts.length)}`);
  return make("div", { class: "parts" },
    make("table", {},
      make("thead", {}, make("tr", {},
        make("th", { scope: "col" }, "Part"),
        make("td", { "aria-hidden": "true" }),
        make("th", { scope: "col" }, make("i", { class: "mark artwork" }), "Picture"),
        make("th", { scope: "col" }, make("i", { class: "mark track" }), "Music"),
        make("th", { scope: "col" }, "Share of the score"))),
      body),
    all || "");
}

function runners(title, rows, record, show) {
  if (!rows.length) return "";
  return make("section", {}, make("h2", {}, title),
    make("ol", {}, ...rows.map((one) => make("li", { "data-item": one.item_id },
      ...(one.pair ? show(one.pair, record) : outside(one, record)),
      make("span", { class: "soft score" }, one.score.toFixed(4))))));
}

const otherTrack = (pair) => [
  playButton(pair),
  make("a", { href: pairAddress(pair.key) }, make("b", {}, trackTitle(pair)),
    make("span", { class: "soft" }, joined(pair.track_genre, clock(pair.duration_s)))),
];

/** Another artwork, beside which the music of this pair plays. */
const otherArtwork = (pair, record) => [
  playButton(record),
  make("img", { src: thumbnail(pair.key, 160), alt: "", loading: "lazy" }),
  make("a", { href: pairAddress(pair.key) }, make("b", {}, artworkTitle(pair)),
    make("span", { class: "soft" }, joined(pair.painter, pair.artwork_style))),
];

/** A work without a pair in this release: from the build, as far as it is there. */
function outside({ item_id, name, work }, record) {
  const address = (side) => `/outside/${side}?${new URLSearchParams({ id: item_id })}`;
  const soft = (...texts) => make("span", { class: "soft" }, joined(...texts, "not in this release"));
  if (!work) return [soft(name || item_id)];
  const isTrack = "track_title" in work;
  const text = make("span", { class: "work" },
    make("b", {}, isTrack ? trackTitle(work) : artworkTitle(work)),
    isTrack ? soft(work.track_genre, work.duration_s && clock(work.duration_s)) : soft(work.painter, work.artwork_style));
  if (!work.here) return [text];
  if (isTrack) // beside the picture of this pair
    return [playButton({ ...record, ...work, key: `outside ${item_id}`, sound: address("track"),
      small: thumbnail(record.key, 160), page: pairAddress(record.key) }), text];
  const larger = { href: `${address("artwork")}&s=640`, target: "_blank", "aria-label": `${artworkTitle(work)}, larger` };
  return [playButton(record), make("a", larger, make("img", { src: `${address("artwork")}&s=160`, alt: "", loading: "lazy" })), text];
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
