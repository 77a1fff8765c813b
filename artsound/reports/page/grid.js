// The grid of pairs with its facets.
import {
  ask, artworkTitle, byId, clock, make, media, notice, number, pairAddress, playButton,
  showPlaying, trackTitle,
} from "/page/page.js";

const SORTS = [
  ["best", "Best score"], ["worst", "Lowest score"], ["oldest", "Oldest artwork"],
  ["newest", "Newest artwork"], ["painter", "Painter"], ["music", "Musician"],
];
const SHORT = 7; // values shown of a facet before it is opened
const LONG = 200;
const opened = new Set(); // facets that show all their values
let asked = 0; // number of the newest request: older answers come too late
let more = { query: "", shown: 0, total: 0, busy: false };

const watcher = new IntersectionObserver(
  (entries) => entries.some((entry) => entry.isIntersecting) && showMore(),
  { rootMargin: "900px" },
);

export async function showGrid(query, changed, found) {
  document.title = "ArtSound";
  const end = make("div", { id: "end" });
  byId("main").replaceChildren(
    make("aside", { id: "facets", "aria-label": "Filters" }),
    make(
      "section", { id: "results", "aria-label": "Pairs" },
      make("div", { class: "bar" },
        make("p", { id: "total", role: "status" }),
        make("label", { class: "sort" }, "Sort ",
          make("select", { id: "sort", onchange: (event) => resort(event.target.value, changed) },
            ...SORTS.map(([value, text]) => make("option", { value }, text))))),
      make("div", { id: "chips" }),
      make("div", { id: "grid" }),
      end,
    ),
  );
  watcher.disconnect();
  watcher.observe(end);
  await refreshGrid(query, changed, found);
}

export async function refreshGrid(query, changed, found) {
  const mine = ++asked;
  let view;
  try {
    view = await ask(`/api/view?${query}`);
  } catch (error) {
    if (mine !== asked) return;
    // No cards of the query before may follow the message, and the condition can be taken away.
    more = { query: "", shown: 0, total: 0, busy: false };
    byId("grid").replaceChildren(notice(error.message));
    byId("total").textContent = "";
    showChips(query, changed);
    if (!byId("facets").childElementCount) byId("facets").replaceChildren(whereBox(query, changed));
    return;
  }
  if (mine !== asked) return;
  found(view);
  const total = view.total === view.of ? "" : ` of ${number(view.of)}`;
  byId("total").textContent = `${number(view.total)}${total} pairs`;
  byId("sort").value = query.get("sort") || "best";
  showChips(query, changed);
  showFacets(view.facets, query, changed);
  byId("grid").replaceChildren(...cards(view, query.toString()));
  if (!view.total) byId("grid").append(notice("No pair fulfils all of this: take a filter away."));
  more = { query: query.toString(), shown: view.pairs.length, total: view.total, busy: false };
  showPlaying();
}

async function showMore() {
  if (more.busy || more.shown >= more.total) return;
  more.busy = true;
  const mine = asked;
  try {
    const view = await ask(`/api/view?${more.query}&start=${more.shown}`);
    if (mine !== asked) return;
    byId("grid").append(...cards(view, more.query));
    more.shown += view.pairs.length;
    showPlaying();
  } finally {
    if (mine === asked) more.busy = false;
  }
}

function resort(value, changed) {
  const query = new URLSearchParams(window.location.search);
  if (value === "best") query.delete("sort");
  else query.set("sort", value);
  changed(query);
}

const cards = (view, query) => view.pairs.map((pair) => card(pair, query));

/** One pair in the grid; its page shows the pairs before and after it in the query. */
function card(pair, query) {
  const address = pairAddress(pair.key, query);
  return make(
    "article", { class: "card", "data-key": pair.key },
    make("div", { class: "picture" },
      make("a", { href: address, tabindex: "-1", "aria-hidden": "true" },
        make("img", { src: media(pair.key, "jpg"), alt: pair.artwork_caption, loading: "lazy", decoding: "async" })),
      playButton(pair)),
    make("div", { class: "text" },
      make("a", { class: "title", href: address }, artworkTitle(pair)),
      make("span", { class: "soft" }, [pair.painter, pair.artwork_style].filter(Boolean).join(" · ")),
      make("span", { class: "track" }, "♪ ", trackTitle(pair)),
      make("span", { class: "soft" },
        [`score ${pair.score.toFixed(2)}`, clock(pair.duration_s), pair.track_genre].filter(Boolean).join(" · "))),
  );
}

function facetValues(query) {
  return [...query].filter(([name]) => !["q", "where", "sort", "start"].includes(name));
}

function toggled(query, name, value) {
  const next = new URLSearchParams();
  let had = false;
  for (const [key, text] of query) {
    if (key === name && text === value) had = true;
    else next.append(key, text);
  }
  if (!had) next.append(name, value);
  return next;
}

function showChips(query, changed) {
  const chosen = facetValues(query);
  const chips = chosen.map(([name, value]) =>
    make("button", {
      class: "chip", type: "button", "aria-label": `Remove ${value}`,
      onclick: () => changed(toggled(query, name, value)),
    }, value, make("span", { "aria-hidden": "true" }, " ×")));
  if (query.get("where"))
    chips.push(make("button", {
      class: "chip", type: "button", "aria-label": "Remove the condition",
      onclick: () => changed(without(query, "where")),
    }, make("code", {}, query.get("where")), make("span", { "aria-hidden": "true" }, " ×")));
  if (chips.length > 1)
    chips.push(make("button", {
      class: "chip plain", type: "button",
      onclick: () => changed(new URLSearchParams(query.get("q") ? { q: query.get("q") } : {})),
    }, "Clear all"));
  byId("chips").replaceChildren(...chips);
}

function without(query, name) {
  const next = new URLSearchParams(query);
  next.delete(name);
  return next;
}

function showFacets(facets, query, changed) {
  const focused = document.activeElement?.dataset?.value;
  const scrolled = byId("facets").scrollTop;
  byId("facets").replaceChildren(
    ...facets.map((facet) => facetBox(facet, query, changed)),
    whereBox(query, changed),
  );
  byId("facets").scrollTop = scrolled;
  if (focused)
    byId("facets").querySelector(`[data-value="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function facetBox(facet, query, changed) {
  const chosen = new Set(query.getAll(facet.name));
  const missing = [...chosen].filter((value) => !facet.counts.some(([name]) => name === value));
  const counts = [...facet.counts, ...missing.map((value) => [value, 0])];
  const most = Math.max(1, ...counts.map(([, count]) => count));
  const list = make("div", { class: "values" });
  const fill = (words = "") => {
    const open = opened.has(facet.name);
    const hits = counts.filter(([value]) => value.toLowerCase().includes(words.toLowerCase()));
    const shown = hits.filter(([value], n) => chosen.has(value) || n < (open ? LONG : SHORT));
    list.replaceChildren(
      ...shown.map(([value, count]) => {
        const box = make("input", {
          type: "checkbox", checked: chosen.has(value), "data-value": `${facet.name}=${value}`,
          onchange: () => changed(toggled(query, facet.name, value)),
        });
        const bar = make("i", {});
        bar.style.width = `${(100 * count) / most}%`;
        return make("label", {}, box, make("span", {}, value), make("b", {}, number(count)), bar);
      }),
    );
  };
  const all = counts.length > SHORT && make("button", {
    class: "plain", type: "button",
    onclick: () => {
      if (opened.has(facet.name)) opened.delete(facet.name);
      else opened.add(facet.name);
      showOpen();
    },
  });
  const find = counts.length > 25 && make("input", {
    type: "search", class: "find", placeholder: `Find in ${number(counts.length)}`,
    "aria-label": `Find in ${facet.title}`, oninput: (event) => fill(event.target.value),
  });
  const showOpen = () => {
    const open = opened.has(facet.name);
    if (all) all.textContent = open ? "Fewer" : `All ${number(counts.length)}`;
    if (find) find.hidden = !open;
    fill(open && find ? find.value : "");
  };
  showOpen();
  return make("fieldset", { "data-facet": facet.name }, make("legend", {}, facet.title),
    find || "", list, all || "");
}

function whereBox(query, changed) {
  const input = make("input", {
    class: "find", "aria-label": "SQL condition", placeholder: "artwork_year < 1900 and tempo_bpm > 120",
    value: query.get("where") || "", spellcheck: "false", autocomplete: "off",
  });
  const submit = (event) => {
    event.preventDefault();
    const next = without(query, "where");
    if (input.value.trim()) next.set("where", input.value.trim());
    changed(next);
  };
  return make("fieldset", {}, make("legend", {}, "Condition"), make("form", { onsubmit: submit }, input));
}
