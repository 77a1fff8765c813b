// Judging pairs blind: a picture and its music, nothing else; the keyboard is enough.
import { ask, byId, make, notice, number, post } from "/page/page.js";

const SCALE = ["not at all", "a little", "somewhat", "well", "perfectly"];
let trial = null; // { token, shown: milliseconds }
let judge = "";
let view = "";
let waiting = false;

export async function showJudge(query) {
  document.title = "Judge – ArtSound";
  view = query.toString();
  judge = sessionStorage.getItem("judge") || "";
  if (judge) await next();
  else askName();
}

function askName() {
  const input = make("input", {
    id: "judge-name", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9\\-]{0,31}", maxlength: "32",
    autocomplete: "off", spellcheck: "false", placeholder: "ada",
  });
  const begin = async (event) => {
    event.preventDefault();
    judge = input.value.trim().toLowerCase();
    sessionStorage.setItem("judge", judge);
    await next();
  };
  byId("main").replaceChildren(
    make("form", { class: "welcome", onsubmit: begin },
      make("h1", {}, "How well do they fit?"),
      make("p", {}, "You will see an artwork and hear a piece of music. Say how well the two go " +
        "together, from 1 to 5, or accept or reject the pair. Some were put together by chance; " +
        "they are not marked, so judge what you see and hear."),
      make("label", {}, "Your name or initials ", input),
      make("button", { class: "main", type: "submit" }, "Begin")),
  );
  input.focus();
}

async function next() {
  let found;
  try {
    found = await ask(`/api/trial?judge=${encodeURIComponent(judge)}${view ? `&${view}` : ""}`);
  } catch (error) {
    sessionStorage.removeItem("judge");
    askName();
    byId("main").append(notice(error.message));
    return;
  }
  if (!found.token) {
    trial = null;
    byId("main").replaceChildren(notice(
      `All pairs of this view are judged: ${number(found.done)} by ${judge}. Thank you.`));
    return;
  }
  show(found);
}

function show(found) {
  const address = `/trial/${found.token}`;
  const sound = make("audio", { id: "trial-audio", controls: true, autoplay: true, src: `${address}.mp3` });
  byId("main").replaceChildren(
    make("section", { class: "judge", "data-token": found.token, "aria-label": "Trial" },
      make("img", { id: "trial-picture", src: `${address}.jpg`, alt: "The artwork to be judged" }),
      sound,
      make("div", { class: "scale", role: "group", "aria-label": "How well do they fit?" },
        ...SCALE.map((words, n) =>
          make("button", { type: "button", onclick: () => answer({ rating: n + 1 }) },
            make("kbd", {}, String(n + 1)), make("span", {}, words)))),
      make("div", { class: "verdicts" },
        make("button", { type: "button", onclick: () => answer({ verdict: "reject" }) }, make("kbd", {}, "R"), " reject"),
        make("button", { type: "button", onclick: () => answer({ verdict: "skip" }) }, make("kbd", {}, "S"), " skip"),
        make("button", { type: "button", onclick: () => answer({ verdict: "accept" }) }, make("kbd", {}, "A"), " accept")),
      make("p", { class: "soft", role: "status", id: "judged" },
        `${number(found.done)} judged by ${judge} · `,
        make("button", { class: "plain", type: "button", onclick: leave }, "someone else"))),
  );
  trial = { token: found.token, shown: performance.now() };
  sound.play().catch(() => {}); // a browser may require a click first
}

function leave() {
  sessionStorage.removeItem("judge");
  trial = null;
  askName();
}

async function answer(said) {
  if (!trial || waiting) return;
  waiting = true;
  try {
    const seconds = (performance.now() - trial.shown) / 1000;
    await post("/api/judgement", { judge, token: trial.token, seconds, ...said });
    await next();
  } catch (error) {
    byId("main").append(notice(error.message));
  } finally {
    waiting = false;
  }
}

const KEYS = { a: { verdict: "accept" }, r: { verdict: "reject" }, s: { verdict: "skip" } };

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (!byId("trial-audio") || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (/^[1-5]$/.test(key)) answer({ rating: Number(key) });
  else if (KEYS[key]) answer(KEYS[key]);
  else if (key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "AUDIO") {
    const sound = byId("trial-audio");
    if (sound.paused) sound.play();
    else sound.pause();
  } else return;
  event.preventDefault();
});
