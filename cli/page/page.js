// page.js: joins model, graph, timeline and panels. All that is chosen stands in the address behind '#', so that a view
// can be kept, sent, and tested.
"use strict";
const $ = (id) => document.getElementById(id);
const model = new Model(JSON.parse($("data").textContent));
const side = model.sides[model.sides.length - 1];
const TABS = [["sites", "Sites", sitesPanel], ["histograms", "Sizes and lifetimes", histogramsPanel], ["threads", "Threads", threadsPanel],
  ["advice", "Advice", advicePanel]];
const defaults = { metric: "bytes", invert: "", search: "", tab: "sites", sort: "", range: "", zoom: "", theme: "" };
let state = { ...defaults };

function isDark() {
  return state.theme === "dark" || (state.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}
function read() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  state = { ...defaults, ...given };
}
function set(change) {
  state = { ...state, ...change };
  const kept = new URLSearchParams(Object.entries(state).filter(([name, value]) => value !== "" && value !== defaults[name]));
  history.replaceState(null, "", "#" + kept);
  show();
}

const flame = new Flame($("flame"), {
  zoom: (node) => set({ zoom: path(node) }),
  hover: (node, event) => { tip(node < 0 ? "" : words(node), event); if (node >= 0) tellNode(node); },
});
flame.main = side.program;
const timeline = new Timeline($("time"), model.sides, {
  range: (range) => set({ range: range === null ? "" : range.join("-") }),
  hover: (text, event) => tip(html(text), event),
});

// A node's name in the address: functions from the root, each by name.
function path(node) {
  const names = [];
  for (; node !== 0; node = flame.tree.parent[node]) names.unshift(model.functions[flame.tree.fn[node]].name);
  return names.join("\n");
}
function nodeOf(path) {
  let at = 0;
  if (path === "") return 0;
  const names = path.split("\n");
  // One name alone: the heaviest node of that function.
  if (names.length === 1) {
    let best = 0;
    for (let i = 1; i < flame.tree.fn.length; i++)
      if (model.functions[flame.tree.fn[i]].name === path && (best === 0 || flame.tree.now[i] > flame.tree.now[best])) best = i;
    return best;
  }
  for (const name of names) {
    const next = flame.tree.kids[at].find((k) => model.functions[flame.tree.fn[k]].name === name);
    if (next === undefined) break;
    at = next;
  }
  return at;
}
function format(n) {
  return METRICS.find((m) => m[0] === state.metric)[2](n);
}
function words(node) {
  const t = flame.tree;
  const f = node === 0 ? { full: "all", module: "" } : model.functions[t.fn[node]];
  const change = t.base === null ? "" : `<br>before ${html(format(t.base[node]))}, change ${html(format(t.now[node] - t.base[node]))}`;
  return `<b>${html(f.full)}</b>${html(format(t.now[node]))} · ${share(t.now[node], t.now[0])} of all` +
    `${change}<br>${html(t.line[node] || "")} ${html(f.module)}`;
}
function tellNode(node) {
  $("detail").innerHTML = words(node).replace(/<br>/g, " · ").replace("</b>", "</b> ");
}
function tip(content, event) {
  const box = $("tip");
  box.hidden = content === "" || event === undefined;
  if (box.hidden) return;
  box.innerHTML = content;
  box.style.left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8) + "px";
  box.style.top = Math.min(event.clientY + 16, innerHeight - box.offsetHeight - 8) + "px";
}

function showRange() {
  const slices = timeline.slices();
  const given = /^(\d+)-(\d+)$/.exec(state.range);
  const range = given === null || side.slices === null ? null : [Math.min(+given[1], slices - 1), Math.min(+given[2], slices)];
  model.range = range !== null && range[0] < range[1] ? range : null;
  timeline.range = model.range;
  const at = (i) => time(i * (side.slices === null ? 0 : side.slices.step_ns));
  $("range").textContent = model.range === null ? "drag to select a range" : `${at(model.range[0])} – ${at(model.range[1])}`;
}
function showFound(matches) {
  const t = flame.tree;
  if (matches === null) { $("found").textContent = ""; return; }
  let sum = 0;
  const inside = new Uint8Array(t.parent.length);
  for (let i = 1; i < t.parent.length; i++) {
    const hit = matches[t.fn[i]];
    if (hit && !inside[t.parent[i]]) sum += t.now[i];
    inside[i] = hit || inside[t.parent[i]];
  }
  $("found").textContent = `${matches.filter(Boolean).length} function${matches.filter(Boolean).length === 1 ? "" : "s"}, ${format(sum)} (${share(sum, t.now[0])})`;
}
function showPanel() {
  const tab = TABS.find((t) => t[0] === state.tab) || TABS[0];
  for (const button of $("tabs").children) button.setAttribute("aria-selected", button.dataset.tab === tab[0]);
  $("panel").innerHTML = tab[2](model, state);
}
function show() {
  if (state.theme === "") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = state.theme;
  if (!METRICS.some((m) => m[0] === state.metric)) state.metric = defaults.metric;
  for (const button of $("metrics").children) button.setAttribute("aria-checked", button.dataset.metric === state.metric);
  $("invert").setAttribute("aria-pressed", state.invert !== "");
  if ($("search").value !== state.search) $("search").value = state.search;
  showRange();
  timeline.draw();
  const matches = model.match(state.search);
  flame.tree = model.tree(state.metric, state.invert !== "");
  flame.zoomed = nodeOf(state.zoom);
  if (flame.marked >= flame.tree.parent.length) flame.marked = 0;
  flame.show(flame.tree, model.functions, matches);
  const t = flame.tree;
  $("zoomed").textContent = flame.zoomed === 0 ? format(t.now[0])
    : `${model.functions[t.fn[flame.zoomed]].name}: ${format(t.now[flame.zoomed])} (${share(t.now[flame.zoomed], t.now[0])})`;
  showFound(matches);
  showPanel();
  document.body.dataset.boxes = flame.boxes.length;
}

function tiles() {
  const base = model.diff ? model.sides[0] : null;
  const facts = [["duration", time(side.duration_ns), "duration_ns"], ["allocations", count(side.totals.calls), "calls"], ["allocated", bytes(side.totals.bytes), "bytes"],
    ["peak heap", bytes(side.totals.peak), "peak"], ["peak RSS", bytes(side.totals.rss), "rss"], ["never freed", bytes(side.totals.live), "live"],
    ["temporary", share(side.totals.temporary, side.totals.calls), "temporary"], ["threads", count(side.threads.length), ""]];
  $("tiles").innerHTML = facts.map(([name, text, key]) => {
    const old = base === null || !(key in side.totals) ? 0 : base.totals[key];
    const change = old > 0 && base !== null ? (side.totals[key] / old - 1) * 100 : 0;
    const note = change === 0 ? "" : ` <span class="${change > 0 ? "up" : "down"}">${change >= 900 ? "×" + (change / 100 + 1).toFixed(0) : (change > 0 ? "+" : "") + change.toFixed(1) + "%"}</span>`;
    return `<div class="tile"><b>${html(text)}</b><span>${html(name)}</span>${note}</div>`;
  }).join("");
  $("title").textContent = (model.diff ? model.sides[0].title + " → " : "") + side.title;
  document.title = $("title").textContent + " – hakmem-report";
}
function moveRange(from, to) {
  const slices = timeline.slices();
  const [a, b] = model.range === null ? [0, Math.max(1, Math.round(slices / 10))] : model.range;
  const low = Math.max(0, Math.min(slices - 1, a + from)), high = Math.max(low + 1, Math.min(slices, b + to));
  set({ range: `${low}-${high}` });
}
function key(e) {
  if (e.target.tagName === "INPUT") { if (e.key === "Escape") { e.target.blur(); set({ search: "" }); } return; }
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const arrows = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"];
  if (e.key === "/") $("search").focus();
  else if (e.key >= "1" && e.key <= "5") set({ metric: METRICS[e.key - 1][0] });
  else if (e.key === "i") $("invert").click();
  else if (e.key === "t") $("theme").click();
  else if (e.key === "?") $("help").click();
  else if (e.key === "Escape") $("reset").click();
  else if (e.key === "[") moveRange(-1, -1);
  else if (e.key === "]") moveRange(1, 1);
  else if (e.key === "{") moveRange(0, -1);
  else if (e.key === "}") moveRange(0, 1);
  else if (e.key === "Backspace") set({ zoom: path(flame.tree.parent[flame.zoomed]) });
  else if (e.key === "Enter" && e.target.tagName !== "BUTTON") set({ zoom: path(flame.marked) });
  else if (arrows.includes(e.key) && e.target.id !== "panel") tellNode(flame.move(e.key));
  else return;
  e.preventDefault();
}

$("metrics").innerHTML = METRICS.map((m) => `<button role="radio" data-metric="${m[0]}">${m[1]}</button>`).join("");
$("tabs").innerHTML = TABS.map((t) => `<button role="tab" data-tab="${t[0]}">${t[1]}</button>`).join("");
$("metrics").addEventListener("click", (e) => { if (e.target.dataset.metric) set({ metric: e.target.dataset.metric }); });
$("tabs").addEventListener("click", (e) => { if (e.target.dataset.tab) set({ tab: e.target.dataset.tab }); });
$("panel").addEventListener("click", (e) => {
  const head = e.target.closest("th[data-sort]"), row = e.target.closest("tr[data-function]");
  if (head !== null) set({ sort: head.dataset.sort });
  else if (row !== null && e.target.tagName !== "A") { set({ zoom: row.dataset.function }); $("flame-title").scrollIntoView(); }
});
$("invert").addEventListener("click", () => set({ invert: state.invert === "" ? "1" : "", zoom: "" }));
$("theme").addEventListener("click", () => set({ theme: isDark() ? "light" : "dark" }));
$("reset").addEventListener("click", () => { flame.marked = 0; set({ range: "", zoom: "", search: "" }); });
$("help").addEventListener("click", () => $("keys").showModal());
$("search").addEventListener("input", (e) => set({ search: e.target.value }));
document.addEventListener("keydown", key);
addEventListener("resize", () => { timeline.draw(); flame.draw(); });
addEventListener("hashchange", () => { read(); show(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
read();
tiles();
show();
document.body.dataset.ready = "1";
