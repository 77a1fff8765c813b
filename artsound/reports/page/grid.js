// The page of all pairs: filters, and the pairs of the query as cards, as a table, or on maps.
import { ask, byId, make, notice, number, pairsText, showPlaying } from "/page/page.js";
import { current, showChips, showFacets, whereBox, without } from "/page/facets.js";
import { endList, focusPair, showList } from "/page/list.js";
import { showMap } from "/page/map.js";

const SORTS = [
  ["best", "Best score"], ["worst", "Lowest score"], ["oldest", "Oldest artwork"],
  ["newest", "Newest artwork"], ["painter", "Painter"], ["music", "Musician"],
];
const SHOWS = [["cards", "Cards"], ["table", "Table"], ["map", "Map"]];
const PAGE = 48;
let asked = 0; // number of the newest request: older answers come too late

/** The conditions and the order of an address, without how they are shown. */
export const plain = (query) => without(query, "at", "show");

export async function showGrid(query, changed, found, { back = "" } = {}) {
  document.title = "ArtSound";
  const upload = make("input", { type: "file", id: "picture-file", hidden: true, accept: "image/*",
    onchange: (event) => event.target.files[0] && findMusic(event.target.files[0], changed) });
  byId("main").replaceChildren(
    make("aside", { id: "facets", "aria-label": "Filters" }),
    make(
      "section", { id: "results", "aria-label": "Pairs" },
      make("h1", { class: "hidden" }, "Pairs"),
      make("div", { class: "bar" },
        make("p", { id: "total", role: "status" }),
        make("div", { class: "ways", role: "group", "aria-label": "Show as" }, ...SHOWS.map(([value, text]) =>
          make("button", { type: "button", "data-show": value, onclick: () => show(value, changed) }, text))),
        make("label", { class: "sort" }, make("span", {}, "Sort "),
          make("select", { id: "sort", "aria-label": "Sort", onchange: (event) => resort(event.target.value, changed) })),
        make("button", { type: "button", id: "to-picture", onclick: () => upload.click(),
          title: "Find the music that fits a picture of yours: choose a file, or drop it on the page" },
        "Music for a picture …"), upload),
      make("p", { id: "words-note", class: "soft", hidden: true }, "Words are looked for in names, titles, tags and " +
        "captions. To search by meaning, browse the shards in the folder of a build whose encoder takes texts (CLIP, " +
        "CLAP), with its weights."),
      make("div", { id: "chips" }),
      make("div", { id: "map", hidden: true }),
      make("div", { id: "grid" }),
    ),
  );
  await refreshGrid(query, changed, found);
  if (back) focusPair(back);
}

export async function refreshGrid(query, changed, found) {
  const mine = ++asked;
  const at = Number(query.get("at")) || 0;
  let view;
  try {
    view = await ask(`/api/view?${plain(query)}&start=${PAGE * Math.floor(at / PAGE)}`);
  } catch (error) {
    if (mine !== asked) return;
    // No cards of the query before may follow the message, and the condition can be taken away.
    endList();
    byId("map").hidden = true;
    byId("grid").replaceChildren(notice(error.message));
    byId("total").textContent = "";
    showSorts(query);
    showChips(query, changed);
    if (!byId("facets").childElementCount) byId("facets").replaceChildren(whereBox(query, changed));
    return;
  }
  if (mine !== asked) return;
  found(view);
  byId("total").textContent = view.total === view.of ? pairsText(view.of) : `${number(view.total)} of ${pairsText(view.of)}`;
  const way = query.get("show") || "cards";
  for (const button of document.querySelectorAll("[data-show]"))
    button.setAttribute("aria-pressed", String(button.dataset.show === way));
  byId("words-note").hidden = !query.get("q") || Boolean(query.get("by")) || view.by.length > 0;
  showSorts(query);
  showFacets(view, query, changed);
  showChips(query, changed);
  byId("map").hidden = way !== "map";
  if (way === "map") await showMap(byId("map"), query, changed);
  if (mine !== asked || !byId("grid")) return;
  showList({
    view, at, query: plain(query).toString(), table: way === "table",
    sort: query.get("sort") || "best", resort: (value) => resort(value, changed),
    moved: rememberPlace,
  });
  showPlaying();
}

function showSorts(query) {
  const value = query.get("sort") || "best";
  const near = query.get("like") || (query.get("q") && query.get("by"));
  const sorts = near ? [[value, "Nearest first"]] : [...SORTS];
  if (!sorts.some(([name]) => name === value)) sorts.push([value, "Column of the table"]);
  byId("sort").replaceChildren(...sorts.map(([name, text]) => make("option", { value: name }, text)));
  byId("sort").value = value;
  byId("sort").disabled = Boolean(near);
}

// The place of the first visible pair stays in the address, so that going back returns to it.
let remembering = 0;
let place = 0;
function rememberPlace(next) {
  place = next;
  if (remembering) return;
  remembering = setTimeout(() => {
    remembering = 0;
    keepPlace();
  }, 250);
}

/** Write the place into the address at once, as before the page is left. */
export function keepPlace() {
  if (window.location.pathname !== "/" || document.body.dataset.page !== "grid") return;
  const query = current();
  if ((Number(query.get("at")) || 0) === place) return;
  if (place) query.set("at", place);
  else query.delete("at");
  const text = query.toString();
  history.replaceState(null, "", text ? `/?${text}` : "/");
}

function resort(value, changed) {
  const query = current();
  if (value === "best") query.delete("sort");
  else query.set("sort", value);
  changed(query);
}

function show(value, changed) {
  const query = current();
  if (value === "cards") query.delete("show");
  else query.set("show", value);
  changed(query);
}

/** Order all pairs by how well their music fits a picture file. */
export async function findMusic(file, changed) {
  byId("total").textContent = "Looking at your picture …";
  try {
    const answer = await ask("/api/picture", {
      method: "POST", headers: { "Content-Type": file.type || "image/jpeg" }, body: file,
    });
    const query = current();
    query.set("like", answer.like);
    changed(query);
  } catch (error) {
    byId("total").textContent = "";
    byId("chips").replaceChildren(notice(error.message));
  }
}
