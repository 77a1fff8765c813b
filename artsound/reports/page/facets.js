// What narrows a view: facets, ranges, saved views and marks, and the chips that take each away.
import { byId, make, number } from "/page/page.js";

const SHORT = 7; // values shown of a facet before it is opened
const LONG = 200;
const FIRST_RANGES = ["year", "percentile"]; // the others are folded away
const opened = new Set(); // facets that show all their values
const NOT_FACETS = ["q", "by", "like", "where", "sort", "saved", "marked", "inside", "show", "at"];
let ranges = []; // of the last answer, for the titles of chips

const isRange = (value) => /^-?[\d.]*\.\.-?[\d.]*$/.test(value);

/** The query of the address; the list and the facets may still show the one before. */
export const current = () => new URLSearchParams(window.location.search);

export function without(query, ...names) {
  const next = new URLSearchParams(query);
  for (const name of names) next.delete(name);
  return next;
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

function replaced(query, name, value) {
  const next = without(query, name);
  if (value) next.set(name, value);
  return next;
}

/** The conditions of a query, each as a button that takes it away. */
export function showChips(query, changed) {
  const chips = [];
  const cross = () => make("span", { "aria-hidden": "true" }, " ×");
  const chip = (label, content, ...names) => chips.push(make("button", {
    class: "chip", type: "button", "aria-label": `Remove ${label}`,
    onclick: () => changed(without(current(), ...names)),
  }, content, cross()));
  const like = query.get("like");
  if (like) chip("the likeness", likeText(like), "like");
  if (query.get("q") && query.get("by"))
    chip("the words", `${query.get("by") === "music" ? "Music" : "Pictures"} that fit “${query.get("q")}”`,
      "q", "by");
  if (query.get("saved")) chip("the view", `View ${query.get("saved")}`, "saved");
  if (query.get("marked")) chip("the marks", MARKS[query.get("marked")] || query.get("marked"), "marked");
  if (query.get("inside"))
    chip("the area", `Area on the map of ${query.get("inside").startsWith("tracks") ? "music" : "pictures"}`,
      "inside");
  for (const [name, value] of query) {
    if (NOT_FACETS.includes(name)) continue;
    const range = ranges.find((one) => one.name === name);
    if (range || isRange(value)) chip(range?.title || name, `${range?.title || name} ${value.replace("..", " to ").trim()}`, name);
    else
      chips.push(make("button", {
        class: "chip", type: "button", "aria-label": `Remove ${value}`,
        onclick: () => changed(toggled(current(), name, value)),
      }, value, cross()));
  }
  if (query.get("where"))
    chip("the condition", make("code", {}, query.get("where")), "where");
  if (chips.length > 1)
    chips.push(make("button", {
      class: "chip plain", type: "button",
      onclick: () => {
        const now = current(), next = new URLSearchParams();
        for (const name of ["q", "sort", "show"])
          if (now.get(name) && !(name === "q" && now.get("by"))) next.set(name, now.get(name));
        changed(next);
      },
    }, "Clear all"));
  byId("chips").replaceChildren(...chips);
}

const MARKS = { flagged: "Flagged", noted: "With a note", any: "Flagged or with a note" };

function likeText(like) {
  const [kind, ...rest] = like.split(":");
  if (kind === "file") return "Music for your picture";
  return kind === "music" ? `Music like that of pair ${rest.join(":")}` : `Pictures like that of pair ${rest.join(":")}`;
}

/** The side bar. */
export function showFacets(view, query, changed) {
  ranges = view.ranges;
  const focused = document.activeElement?.dataset?.value;
  const scrolled = byId("facets").scrollTop;
  const open = byId("facets").querySelector("details.more")?.open;
  const sliders = view.ranges.map((range) => [range.name, rangeBox(range, query, changed)]);
  const first = sliders.filter(([name]) => FIRST_RANGES.includes(name)).map(([, box]) => box);
  const rest = sliders.filter(([name]) => !FIRST_RANGES.includes(name)).map(([, box]) => box);
  const used = sliders.some(([name]) => !FIRST_RANGES.includes(name) && query.get(name));
  const facets = view.facets.filter((facet) => facet.counts.length || query.has(facet.name));
  byId("facets").replaceChildren(
    ...savedBoxes(view, query, changed),
    ...facets.slice(0, 3).map((facet) => facetBox(facet, query, changed)),
    ...first,
    ...facets.slice(3).map((facet) => facetBox(facet, query, changed)),
    ...(rest.length ? [make("details", { class: "more", open: open || used }, make("summary", {}, "More ranges"), ...rest)] : []),
    whereBox(query, changed),
  );
  byId("facets").scrollTop = scrolled;
  if (focused)
    byId("facets").querySelector(`[data-value="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Saved views and what people have marked, as far as there are any. */
function savedBoxes(view, query, changed) {
  const boxes = [];
  const line = (name, value, text, count) => {
    const box = make("input", {
      type: "checkbox", checked: query.get(name) === value, "data-value": `${name}=${value}`,
      onchange: () => changed(replaced(current(), name, box.checked ? value : "")),
    });
    return make("label", {}, box, make("span", {}, text), make("b", {}, count));
  };
  if (view.views.length)
    boxes.push(make("fieldset", { "data-facet": "saved" }, make("legend", {}, "Saved views"),
      make("div", { class: "values" }, ...view.views.map((one) => line("saved", one.name, one.name, one.kind)))));
  const marks = Object.entries(view.marks).filter(([name, count]) => count || query.get("marked") === name);
  if (marks.length)
    boxes.push(make("fieldset", { "data-facet": "marked" }, make("legend", {}, "Marks"),
      make("div", { class: "values" }, ...marks.map(([name, count]) => line("marked", name, MARKS[name], number(count))))));
  return boxes;
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
          onchange: () => changed(toggled(current(), facet.name, value)),
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

/** Two sliders below a histogram of the pairs that the rest of the query finds. */
function rangeBox(range, query, changed) {
  const [from, to] = (query.get(range.name) || "..").split("..");
  const step = 10 ** -range.digits;
  const shown = (value) => value.toFixed(range.digits);
  const most = Math.max(1, ...range.counts);
  const bars = make("div", { class: "bars", "aria-hidden": "true" }, ...range.counts.map((count) => {
    const bar = make("i", {});
    bar.style.height = `${count ? Math.max(4, (100 * count) / most) : 0}%`;
    return bar;
  }));
  const text = make("output", {});
  const slider = (name, value) => make("input", {
    type: "range", min: range.low, max: range.high, step, value, "data-value": `${range.name} ${name}`,
    "aria-label": `${range.title}, ${name}`,
    oninput: () => update(),
    onchange: () => changed(replaced(current(), range.name, bounds())),
  });
  const low = slider("from", from === "" ? range.low : from);
  const high = slider("to", to === "" ? range.high : to);
  const ends = () => [Math.min(low.value, high.value), Math.max(low.value, high.value)];
  const bounds = () => {
    const [a, b] = ends();
    const least = a > range.low ? shown(a) : "";
    const largest = b < range.high ? shown(b) : "";
    return least || largest ? `${least}..${largest}` : "";
  };
  const update = () => {
    const [a, b] = ends();
    text.textContent = `${shown(a)} – ${shown(b)}`;
    const spread = range.high - range.low || 1;
    [...bars.children].forEach((bar, n) => {
      const middle = range.low + ((n + 0.5) / range.counts.length) * spread;
      bar.classList.toggle("out", middle < a || middle > b);
    });
  };
  update();
  return make("fieldset", { class: "range", "data-facet": range.name },
    make("legend", {}, range.title), bars, make("div", { class: "sliders" }, low, high), text);
}

export function whereBox(query, changed) {
  const input = make("input", {
    class: "find", "aria-label": "SQL condition", placeholder: "tempo_bpm > 120",
    value: query.get("where") || "", spellcheck: "false", autocomplete: "off",
  });
  const submit = (event) => {
    event.preventDefault();
    changed(replaced(current(), "where", input.value.trim()));
  };
  return make("fieldset", {}, make("legend", {}, "Condition in SQL"), make("form", { onsubmit: submit }, input));
}
