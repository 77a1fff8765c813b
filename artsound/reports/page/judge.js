// Judging blind: a picture and its music, or a picture and two clips. The keyboard is enough.
import { ask, byId, make, notice, number, post } from "/page/page.js";

const WORDS = ["not at all", "a little", "somewhat", "well", "perfectly"];
const SCALES = {
  rate: ["Rate from 1 to 5", "how well picture and music fit"],
  decide: ["Accept or reject", "whether the pair is good enough"],
  compare: ["Compare two clips", "which of two fits the picture better"],
};
const COUNTS = [20, 50, 100, 0];

let view = "";
let session = null; // { judge, scale, goal, began: answers at its beginning, times, answers }
let about = null; // what the server says of this view and judge
let trial = null; // { token, shown: ms, pictureReady, ready: [bool], back, said, lost }
let busy = false;

export async function showJudge(query) {
  document.title = "Judge – ArtSound";
  view = query.toString();
  trial = null;
  busy = false;
  session = JSON.parse(sessionStorage.getItem("judging") || "null");
  if (session) await begin();
  else askHow();
}

/** The first page: who judges, on which scale, and how many. */
function askHow(problem = "") {
  const name = make("input", {
    id: "judge-name", required: true, maxlength: "64", autocomplete: "off", spellcheck: "false",
    placeholder: "Ada Lovelace", value: localStorage.getItem("judge") || "",
  });
  const options = Object.entries(SCALES).map(([value, [title, text]]) =>
    make("label", {},
      make("input", { type: "radio", name: "scale", value, checked: value === (session?.scale || "rate") }),
      make("span", {}, make("b", {}, title), make("small", {}, text))));
  const counts = COUNTS.map((count) =>
    make("option", { value: String(count), selected: count === 50 }, count ? String(count) : "all"));
  const start = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    localStorage.setItem("judge", name.value.trim());
    session = { judge: name.value.trim(), scale: form.get("scale"), goal: Number(form.get("goal")),
      began: null, times: [], answers: {} };
    await begin();
  };
  byId("main").replaceChildren(
    make("form", { class: "welcome", onsubmit: start },
      make("h1", {}, "How well do they fit?"),
      make("p", {}, "You will see an artwork and hear music. Some were put together by chance; they are not " +
        "marked, so judge what you see and hear."),
      make("label", {}, "Your name or initials ", name),
      make("fieldset", { class: "choices" }, make("legend", {}, "One scale for this session"), ...options),
      make("label", {}, "How many ", make("select", { name: "goal", id: "judge-goal" }, ...counts)),
      make("p", { class: "soft" }, "Headphones help. Every answer is saved at once: stop whenever you like."),
      make("button", { class: "main", type: "submit" }, "Begin"),
      problem && notice(problem)));
  name.focus();
}

async function begin() {
  try {
    about = await ask(`/api/judging?judge=${encodeURIComponent(session.judge)}${view ? `&${view}` : ""}`);
  } catch (error) {
    if (error.gone) showGone(error, begin);
    else {
      sessionStorage.removeItem("judging");
      askHow(error.message);
    }
    return;
  }
  session.judge = about.judge;
  if (session.began === null) session.began = doneSoFar();
  store();
  await next();
}

const comparing = () => session.scale === "compare";
const doneSoFar = () => (comparing() ? about.compared : about.done);
const total = () => (comparing() ? about.pairs : about.total);
const store = () => sessionStorage.setItem("judging", JSON.stringify(session));
const inSession = () => Math.max(0, doneSoFar() - session.began);
const goal = () => Math.min(session.goal || Infinity, Math.max(total() - session.began, 0));

/** Show the next trial, or with `back` one that was answered before. */
async function next(back = 0) {
  if (!back && session.goal && inSession() >= goal()) return showEnd("This session is complete.");
  const kind = comparing() ? "comparison" : "trial";
  let found;
  try {
    found = await ask(`/api/${kind}?judge=${encodeURIComponent(session.judge)}&back=${back}${view ? `&${view}` : ""}`);
  } catch (error) {
    showGone(error, () => next(back));
    return;
  }
  about[comparing() ? "compared" : "done"] = found.done;
  if (found.token) show(found, back);
  else if (back) say("There is no earlier answer.");
  else showEnd("All pairs of this view are judged.");
}

function show(found, back) {
  const address = `/trial/${found.token}`;
  const clips = comparing() ? ["mp3", "b.mp3"] : ["mp3"];
  trial = { token: found.token, shown: performance.now(), picture: false, ready: clips.map(() => false),
    back, said: found.said, lost: "" };
  const mine = trial;
  const picture = make("img", {
    id: "trial-picture", src: `${address}.jpg`, alt: "The artwork to be judged",
    onload: () => { mine.picture = true; refresh(); },
    onerror: () => lost(mine, "The picture"),
  });
  const sounds = clips.map((member, n) => make("audio", {
    id: n ? "trial-audio-b" : "trial-audio", controls: true, preload: "auto", src: `${address}.${member}`,
    "aria-label": clips.length > 1 ? `Clip ${"AB"[n]}` : "The clip to be judged",
    oncanplay: () => { mine.ready[n] = true; refresh(); },
    onerror: () => lost(mine, "The sound"),
    onplay: (event) => sounds.forEach((one) => one !== event.target && one.pause()),
    ontimeupdate: refresh, onpause: refresh,
  }));
  byId("main").replaceChildren(
    make("section", { class: `judge ${session.scale}`, "data-token": found.token, "aria-label": "Trial" },
      make("h1", { class: "hidden" }, "How well do they fit?"),
      progress(), picture,
      ...sounds.map((sound, n) => (clips.length > 1
        ? make("div", { class: "clip" }, make("b", { "aria-hidden": "true" }, "AB"[n]), sound) : sound)),
      make("p", { class: "soft", role: "status", id: "trial-status" }),
      answers(found.said), footer()));
  refresh();
  sounds[0].play().catch((error) => {
    if (error.name === "NotAllowedError") say("Press the space bar, or play, to listen.");
  });
}

/** One button for each answer of the session's scale. */
function answers(said) {
  const button = (key, words, value, mark) => make("button", {
    type: "button", class: "answer", disabled: true, "aria-pressed": mark ? "true" : false,
    onclick: () => answer(value),
  }, make("kbd", {}, key), make("span", {}, words));
  const group = (kind, ...buttons) =>
    make("div", { class: kind, role: "group", "aria-label": "Your answer" }, ...buttons);
  if (session.scale === "rate")
    return group("scale", ...WORDS.map((words, n) =>
      button(String(n + 1), words, { rating: n + 1 }, said?.rating === n + 1)));
  if (session.scale === "decide")
    return group("verdicts", button("R", "reject", { verdict: "reject" }, said?.verdict === "reject"),
      button("A", "accept", { verdict: "accept" }, said?.verdict === "accept"));
  return group("verdicts", button("A", "A fits better", { choice: "a" }, said?.choice === "a"),
    button("N", "no preference", { choice: "none" }, said?.choice === "none"),
    button("B", "B fits better", { choice: "b" }, said?.choice === "b"));
}

function progress() {
  const count = goal();
  const median = [...session.times].sort((a, b) => a - b)[Math.floor(session.times.length / 2)];
  const left = median === undefined ? "" : ` · about ${duration(median * (count - inSession()))} left`;
  return make("div", { class: "progress" },
    make("p", { id: "judged" }, trial?.back ? `Back ${trial.back}: your earlier answer` :
      `${number(inSession())} of ${number(count)}${left}`),
    make("progress", { max: String(Math.max(count, 1)), value: String(inSession()), "aria-label": "Progress" }));
}

function footer() {
  const back = make("button", { id: "back", type: "button", disabled: !doneSoFar(), onclick: goBack },
    make("kbd", {}, "Z"), " back");
  const skip = make("button", { id: "skip", type: "button", onclick: () => answer(skipped(), true) },
    make("kbd", {}, "S"), " skip");
  return make("div", { class: "verdicts" }, back,
    trial.back ? make("button", { type: "button", onclick: () => next(trial.back - 1) }, "leave it as it is") : skip,
    make("button", { type: "button", onclick: showHelp }, make("kbd", {}, "?"), " keys"),
    make("button", { class: "plain", type: "button", onclick: () => showEnd("You stopped.") }, "stop"),
    make("button", { class: "plain", type: "button", onclick: leave }, "someone else"));
}

const skipped = () => (comparing() ? { choice: "skip" } : { verdict: "skip" });
const clip = (n) => byId(n ? "trial-audio-b" : "trial-audio");

/** Seconds of a clip that were played, each second counted once. */
function heard(sound) {
  let sum = 0;
  for (let n = 0; n < sound.played.length; n += 1) sum += sound.played.end(n) - sound.played.start(n);
  return sum;
}

/** Enable the answers when picture and sound are there and were heard long enough. */
function refresh() {
  if (!trial || !byId("trial-audio")) return;
  const missing = trial.ready.map((_, n) => Math.max(0, enough(clip(n)) - heard(clip(n))));
  const wait = Math.max(...missing);
  const ready = !trial.lost && trial.picture && trial.ready.every(Boolean) && (wait <= 0 || trial.said !== undefined);
  for (const button of document.querySelectorAll("button.answer")) button.disabled = !ready;
  byId("main").querySelector("section.judge").dataset.ready = String(ready);
  if (trial.lost || ready) {
    if (!trial.lost && byId("trial-status").dataset.wait) say("");
    return;
  }
  const status = byId("trial-status");
  if (status.textContent && !status.dataset.wait) return; // another sentence is shown
  if (!trial.picture || !trial.ready.every(Boolean)) status.textContent = "Loading …";
  else {
    const which = trial.ready.length > 1 ? ` to ${"AB"[missing.indexOf(wait)]}` : "";
    status.textContent = `Listen${which} for ${Math.ceil(wait)} s more`;
  }
  status.dataset.wait = "yes";
}

/** A clip shorter than the minimum is heard to its end. */
function enough(sound) {
  const length = Number.isFinite(sound.duration) ? sound.duration - 0.1 : Infinity;
  return Math.max(0, Math.min(about.min_heard, length));
}

function say(sentence) {
  const status = byId("trial-status");
  if (!status) return;
  delete status.dataset.wait;
  status.replaceChildren(sentence);
}

async function lost(mine, what) {
  if (mine !== trial || mine.lost) return;
  mine.lost = what;
  refresh();
  const again = make("button", { type: "button", id: "retry", onclick: () => { say("Loading …"); next(mine.back); } }, "Try again");
  say("");
  byId("trial-status").append(`${what} cannot be loaded. Nothing is saved for this pair. `, again);
}

async function goBack() {
  if (busy || !doneSoFar() && !trial?.back) return;
  await next((trial?.back || 0) + 1);
}

async function answer(said, skipping = false) {
  if (!trial || busy) return;
  const section = byId("main").querySelector("section.judge");
  if (!skipping && section.dataset.ready !== "true") return;
  busy = true;
  const seconds = (performance.now() - trial.shown) / 1000;
  const body = { judge: session.judge, token: trial.token, seconds, ...said };
  // An answer that is changed was heard before.
  const played = trial.ready.map((_, n) => (trial.said ? Math.max(heard(clip(n)), about.min_heard) : heard(clip(n))));
  if (comparing()) [body.heard_a, body.heard_b] = played;
  else [body.heard] = played;
  try {
    const saved = await post(comparing() ? "/api/preference" : "/api/judgement", body, { always: true });
    about[comparing() ? "compared" : "done"] = saved.done;
    const name = String(said.rating || said.verdict || said.choice);
    session.answers[name] = (session.answers[name] || 0) + 1;
    if (!trial.back && !skipping) session.times.push(seconds);
    store();
    busy = false;
    if (!section.isConnected) return; // another page was opened; the answer is saved
    await next(Math.max(0, trial.back - 1));
  } catch (error) {
    busy = false;
    if (!section.isConnected) return;
    if (error.gone) {
      const again = make("button", { type: "button", onclick: () => answer(said, skipping) }, "Send again");
      say("");
      byId("trial-status").append(`${error.message} `, again);
    } else if (/is over/.test(error.message)) await next();
    else say(error.message);
  } finally {
    busy = false;
  }
}

function showGone(error, again) {
  trial = null;
  byId("main").replaceChildren(make("section", { class: "welcome" },
    make("h1", {}, error.gone ? "The server does not answer" : "That did not work"),
    make("p", { role: "alert" }, error.message),
    make("button", { class: "main", type: "button", onclick: again }, "Try again")));
}

function showEnd(sentence) {
  trial = null;
  const counts = Object.entries(session.answers).sort();
  const spent = session.times.reduce((sum, one) => sum + one, 0);
  const more = async () => {
    session.began = doneSoFar();
    session.goal = session.goal || 0;
    session.times = [];
    session.answers = {};
    store();
    await next();
  };
  byId("main").replaceChildren(make("section", { class: "welcome", id: "judge-end" },
    make("h1", {}, "Thank you"),
    make("p", {}, `${sentence} ${number(inSession())} judged by ${session.judge} in this session` +
      (spent ? ` in ${duration(spent)}` : "") + `, ${number(doneSoFar())} in all.`),
    counts.length ? make("dl", { class: "numbers" }, ...counts.map(([name, count]) =>
      make("div", {}, make("dt", {}, /^\d$/.test(name) ? `${name}, ${WORDS[name - 1]}` : name), make("dd", {}, number(count))))) : "",
    make("p", { class: "soft" }, "All answers are saved in ", make("code", {}, about.place), ". ",
      make("code", {}, `artsound judgements ${about.place}`), " summarises them."),
    make("div", { class: "verdicts" },
      make("button", { class: "main", type: "button", onclick: more }, "Judge more"),
      make("button", { type: "button", onclick: leave }, "Another scale or judge"),
      make("a", { class: "button", href: view ? `/?${view}` : "/" }, "Back to the pairs"))));
}

function leave() {
  sessionStorage.removeItem("judging");
  trial = null;
  askHow();
}

const ROWS = {
  rate: [["1 … 5", "rate"]],
  decide: [["A", "accept"], ["R", "reject"]],
  compare: [["A, B", "the clip that fits better"], ["N", "no preference"], ["1, 2", "play A, B"]],
};

function showHelp() {
  const rows = [...ROWS[session.scale], ["S", "skip; it returns at the end"], ["Z, Backspace", "back to the answer before"],
    ["Space", "play or pause"], ["← →", "5 seconds back or ahead"], ["?", "this list"]];
  const dialog = make("dialog", { id: "judge-help", "aria-label": "Keys", onclose: () => dialog.remove() },
    make("h2", {}, "Keys"),
    make("dl", { class: "keys" }, ...rows.map(([key, words]) =>
      make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)))),
    make("form", { method: "dialog", class: "row" }, make("button", {}, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

function answerOf(key) {
  if (key === "s" && !trial.back) return [skipped(), true];
  if (session.scale === "rate") return /^[1-5]$/.test(key) ? [{ rating: Number(key) }] : null;
  if (session.scale === "decide") return { a: [{ verdict: "accept" }], r: [{ verdict: "reject" }] }[key];
  return { a: [{ choice: "a" }], b: [{ choice: "b" }], n: [{ choice: "none" }] }[key];
}

/** The clip that plays, or that played last. */
function current() {
  const second = clip(1);
  return second && (!second.paused || second.currentTime > 0 && clip(0).paused && second.played.length) ? second : clip(0);
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  const undo = event.key.toLowerCase() === "z";
  if (!trial || !byId("trial-audio") || typing || event.altKey || event.repeat) return;
  if ((event.ctrlKey || event.metaKey) && !undo) return;
  const key = event.key.toLowerCase();
  const said = answerOf(key);
  const sound = current();
  if (undo || key === "backspace") goBack();
  else if (said) answer(...said);
  else if (key === "?") showHelp();
  else if (comparing() && (key === "1" || key === "2")) clip(Number(key) - 1).play();
  else if (event.target.tagName === "AUDIO") return; // its own keys
  else if (key === "arrowleft" || key === "arrowright")
    sound.currentTime = Math.max(0, sound.currentTime + (key === "arrowleft" ? -5 : 5));
  else if (key === " " && event.target.tagName !== "BUTTON") {
    if (sound.paused) { say(""); sound.play().catch(() => {}); }
    else sound.pause();
  } else return;
  event.preventDefault();
});
