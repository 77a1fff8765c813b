// The page's frame: addresses, the search box, saving; what is shown is in grid, pair and judge.
import { ask, byId, noticeWithWayBack, pairsText, post, showLost, showPlaying, stopPlaying, turnPage } from "/page/page.js";
import { findMusic, keepPlace, plain, refreshGrid, showGrid } from "/page/grid.js";
import { endList } from "/page/list.js";
import { showPair } from "/page/pair.js";
import { showJudge } from "/page/judge.js";
import { showCompare } from "/page/compare.js";

const state = { query: new URLSearchParams(), total: 0, by: [] };
const BY = { "": "in texts", pictures: "in pictures", music: "in the music" };
history.scrollRestoration = "manual"; // the address says where the list was

/** Show the page of the address; `back`: the key of the pair that was left. */
async function show({ back = "" } = {}) {
  turnPage();
  const { pathname, search } = window.location;
  state.query = new URLSearchParams(search);
  byId("words").value = state.query.get("q") || "";
  const pair = pathname.match(/^\/pair\/([^/]+)$/);
  const others = { "/": "grid", "/judge": "judge", "/compare": "compare" };
  document.body.dataset.page = pair ? "pair" : others[pathname] || "unknown";
  document.body.classList.remove("filtering");
  byId("filters").setAttribute("aria-expanded", "false");
  endList();
  showBy();
  byId("to-judge").href = `/judge?${plain(state.query)}`;
  if (pair) await showPair(pair[1], state.query);
  else if (pathname === "/judge") {
    stopPlaying();
    await showJudge(state.query);
  } else if (pathname === "/compare") {
    stopPlaying();
    await showCompare(state.query);
  } else if (pathname === "/") await showGrid(state.query, changed, found, { back });
  else {
    document.title = "Unknown address – ArtSound";
    byId("main").replaceChildren(noticeWithWayBack(`There is no page ${pathname} here.`));
  }
  showPlaying();
}

/** Apply a changed query: a new address, and new results in place. */
function changed(query, { keep = false } = {}) {
  query.delete("at");
  window.scrollTo(0, 0);
  state.query = query;
  const text = query.toString();
  const address = text ? `/?${text}` : "/";
  if (keep) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  if (byId("words").value !== (query.get("q") || "")) byId("words").value = query.get("q") || "";
  showBy();
  byId("to-judge").href = `/judge?${plain(query)}`;
  if (document.body.dataset.page === "grid") refreshGrid(query, changed, found);
  else show();
}

function found(view) {
  state.total = view.total;
  byId("name").textContent = view.name;
  byId("save").hidden = !view.saves;
  byId("to-judge").hidden = !view.saves;
  byId("to-compare").hidden = !view.compares;
  state.by = view.by;
  showBy();
}

/** What words are looked for in; only where the release has an encoder that takes them. */
function showBy() {
  const by = state.query.get("by") || "";
  const ways = ["", ...new Set([...state.by, ...(by ? [by] : [])])];
  byId("by").hidden = ways.length < 2;
  if ([...byId("by").options].map((option) => option.value).join() !== ways.join())
    byId("by").replaceChildren(...ways.map((value) => new Option(BY[value] || value, value)));
  byId("by").value = by;
}

byId("words").addEventListener("input", () => {
  const query = new URLSearchParams(document.body.dataset.page === "grid" ? state.query : "");
  const words = byId("words").value;
  if (words) query.set("q", words);
  else query.delete("q");
  changed(query, { keep: document.body.dataset.page === "grid" });
});
byId("by").addEventListener("change", () => {
  const query = new URLSearchParams(document.body.dataset.page === "grid" ? state.query : "");
  if (byId("words").value) query.set("q", byId("words").value);
  if (byId("by").value) query.set("by", byId("by").value);
  else query.delete("by");
  query.delete("like");
  changed(query);
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
  if (link.classList.contains("skip")) {
    byId("main").focus();
    return;
  }
  keepPlace();
  history.pushState(null, "", link.href);
  window.scrollTo(0, 0);
  show();
});
window.addEventListener("popstate", () => {
  const back = document.querySelector("article.pair")?.dataset.key || "";
  window.scrollTo(0, 0);
  show({ back });
});

// A picture file that is dropped on the page of all pairs orders them by how well their music fits.
const hasFiles = (event) => document.body.dataset.page === "grid" && event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => !event.relatedTarget && document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!hasFiles(event) || !event.dataTransfer.files.length) return;
  event.preventDefault();
  findMusic(event.dataTransfer.files[0], changed);
});

// A slash goes to the search box, as on other sites.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, dialog") || document.body.dataset.page === "judge") return;
  event.preventDefault();
  byId("words").focus();
});

byId("save").addEventListener("click", () => {
  byId("save-count").textContent = pairsText(state.total);
  byId("save-status").textContent = "";
  byId("save-dialog").showModal();
  showCommand();
});

/** The view as a command, where the command line can say it. */
async function showCommand() {
  const text = byId("command-text");
  byId("command-status").textContent = "";
  text.textContent = "";
  const { command } = await ask(`/api/command?${plain(state.query)}`).catch((error) => ({ command: null, error }));
  text.textContent = command || "Save this view as a view first; then: artsound subset views/NAME.parquet --out FOLDER";
}
byId("command-copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(byId("command-text").textContent);
    byId("command-status").textContent = "Copied.";
  } catch { // not allowed: the text is selected instead
    getSelection().selectAllChildren(byId("command-text"));
    byId("command-status").textContent = "Press Ctrl+C to copy.";
  }
});
byId("save-close").addEventListener("click", () => byId("save-dialog").close());
byId("save-dialog").addEventListener("close", () => { // the new view is listed
  if (state.saved && document.body.dataset.page === "grid") refreshGrid(state.query, changed, found);
  state.saved = false;
});
byId("save-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = byId("save-status");
  byId("save-go").disabled = true;
  status.className = "";
  status.textContent = "Saving …";
  try {
    const kind = new FormData(event.target).get("kind");
    const name = byId("save-name").value;
    const saved = await post("/api/save", { name, kind, query: plain(state.query).toString() }, { always: true });
    status.textContent = `${pairsText(saved.pairs)} saved in ${saved.path}`;
    state.saved = true;
  } catch (error) {
    status.className = "wrong";
    status.textContent = error.message;
  } finally {
    byId("save-go").disabled = false;
  }
});

if (window.location.pathname !== "/") ask("/api/view", { always: true }).then(found, () => {});
show();
