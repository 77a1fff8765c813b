// The page's frame: addresses, the search box, saving; what is shown is in grid, pair and judge.
import { ask, byId, noticeWithWayBack, number, showLost, showPlaying, stopPlaying, post } from "/page/page.js";
import { showGrid, refreshGrid } from "/page/grid.js";
import { showPair } from "/page/pair.js";
import { showJudge } from "/page/judge.js";
import { showCompare } from "/page/compare.js";

const state = { query: new URLSearchParams(), total: 0 };

/** Show the page of the address. */
async function show() {
  const { pathname, search } = window.location;
  state.query = new URLSearchParams(search);
  byId("words").value = state.query.get("q") || "";
  const pair = pathname.match(/^\/pair\/([^/]+)$/);
  const others = { "/": "grid", "/judge": "judge", "/compare": "compare" };
  document.body.dataset.page = pair ? "pair" : others[pathname] || "unknown";
  document.body.classList.remove("filtering");
  byId("filters").setAttribute("aria-expanded", "false");
  byId("to-judge").href = `/judge?${state.query}`;
  if (pair) await showPair(pair[1], state.query);
  else if (pathname === "/judge") {
    stopPlaying();
    await showJudge(state.query);
  } else if (pathname === "/compare") {
    stopPlaying();
    await showCompare(state.query);
  } else if (pathname === "/") await showGrid(state.query, changed, found);
  else {
    document.title = "Unknown address – ArtSound";
    byId("main").replaceChildren(noticeWithWayBack(`There is no page ${pathname} here.`));
  }
  showPlaying();
}

/** Apply a changed query: a new address, and new results in place. */
function changed(query, { keep = false } = {}) {
  state.query = query;
  const text = query.toString();
  const address = text ? `/?${text}` : "/";
  if (keep) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  byId("words").value = query.get("q") || "";
  byId("to-judge").href = `/judge?${query}`;
  if (document.body.dataset.page === "grid") refreshGrid(query, changed, found);
  else show();
}

function found(view) {
  state.total = view.total;
  byId("name").textContent = view.name;
  byId("save").hidden = !view.saves;
  byId("to-judge").hidden = !view.saves;
  byId("to-compare").hidden = !view.compares;
}

byId("words").addEventListener("input", () => {
  const query = new URLSearchParams(document.body.dataset.page === "grid" ? state.query : "");
  const words = byId("words").value;
  if (words) query.set("q", words);
  else query.delete("q");
  changed(query, { keep: document.body.dataset.page === "grid" });
});
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("words").blur();
});
byId("filters").addEventListener("click", () => {
  const open = document.body.classList.toggle("filtering");
  byId("filters").setAttribute("aria-expanded", String(open));
});

for (const name of ["play", "pause", "ended", "emptied"])
  byId("audio").addEventListener(name, showPlaying);

// A picture whose shard is missing or damaged gives way to a sentence; errors do not bubble.
document.addEventListener("error", (event) => showLost(event.target), true);

// Links within the page do not reload it, so that music continues.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey);
  if (!link || !plain || link.origin !== window.location.origin || link.target) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  window.scrollTo(0, 0);
  show();
});
window.addEventListener("popstate", show);

byId("save").addEventListener("click", () => {
  byId("save-count").textContent = `${number(state.total)} pairs`;
  byId("save-status").textContent = "";
  byId("save-dialog").showModal();
});
byId("save-close").addEventListener("click", () => byId("save-dialog").close());
byId("save-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = byId("save-status");
  byId("save-go").disabled = true;
  status.className = "";
  status.textContent = "Saving …";
  try {
    const kind = new FormData(event.target).get("kind");
    const name = byId("save-name").value;
    const saved = await post("/api/save", { name, kind, query: state.query.toString() });
    status.textContent = `${number(saved.pairs)} pairs saved in ${saved.path}`;
  } catch (error) {
    status.className = "wrong";
    status.textContent = error.message;
  } finally {
    byId("save-go").disabled = false;
  }
});

if (window.location.pathname !== "/") ask("/api/view").then(found, () => {});
show();
