// panels.js: the tables below the graph: sites, sizes and lifetimes, threads, advice. HTML from data, all of it escaped.
"use strict";
const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const html = (text) => String(text).replace(/[&<>"']/g, (c) => escapes[c]);

function place(frame) {
  const [name, full, file, line] = frame;
  const short = file ? file.replace(/.*\//, "") + ":" + line : "";
  const link = file && file.startsWith("/") ? `<a href="${html(encodeURI("file://" + file))}" title="${html(file)}">${html(short)}</a>`
    : `<span class="path" title="${html(file || "")}">${html(short)}</span>`;
  return `<span title="${html(full || name)}">${html(name)}</span> ${link}`;
}

const COLUMNS = [
  ["calls", "Calls", count], ["bytes", "Bytes", bytes], ["peak", "At peak", bytes], ["live", "Left", bytes],
  ["temporary", "Temp", (v, s) => share(v, s.calls)], ["p50", "Life p50", (v) => time(v < 0 ? null : v)],
  ["pinned", "Pinned", bytes], ["copied", "Copied", bytes], ["remote", "Remote", (v, s) => share(v, s.freed)],
];

function siteKey(side, site) {
  return site.frames.map((f) => side.frames[f][0]).join("\0");
}

function sitesPanel(model, state) {
  const side = model.sides[model.sides.length - 1];
  const match = model.match(state.search);
  const named = (site) => match === null || site.frames.some((f) => model.functions[model.names.get(key(side, f))] !== undefined &&
    match[model.names.get(key(side, f))]);
  const key = (s, f) => (s.frames[f][1] || s.frames[f][0]) + "\0" + (model.diff ? s.modules[s.frames[f][4]].replace(/.*\//, "") : s.modules[s.frames[f][4]]);
  const column = COLUMNS.find((c) => c[0] === (state.sort || state.metric)) || COLUMNS[2];
  const before = new Map();
  if (model.diff) for (const site of model.sides[0].sites) {
    const k = siteKey(model.sides[0], site);
    before.set(k, (before.get(k) || 0) + site[column[0]]);
  }
  const change = (site) => site[column[0]] - (before.get(siteKey(side, site)) || 0);
  const rows = side.sites.filter(named);
  rows.sort(model.diff ? (a, b) => Math.abs(change(b)) - Math.abs(change(a)) : (a, b) => sortable(b[column[0]]) - sortable(a[column[0]]));
  const shown = rows.slice(0, 200);
  const head = COLUMNS.map((c) => `<th data-sort="${c[0]}" class="${c === column ? "on" : ""}">${c[1]}</th>`).join("") +
    (model.diff ? "<th>Change</th>" : "") + '<th class="wide">Site</th>';
  const body = shown.map((s) => {
    const cells = COLUMNS.map((c) => `<td>${html(c[2](s[c[0]], s))}</td>`).join("");
    const d = model.diff ? change(s) : 0;
    const extra = model.diff ? `<td class="${d > 0 ? "up" : "down"}">${d === 0 ? "=" : (d > 0 ? "+" : "") + html(column[2] === bytes ? bytes(d) : count(d))}</td>` : "";
    const outer = s.frames.findIndex((f) => side.frames[f][0] === "main" || side.frames[f][0] === "start_thread");
    const frames = (outer < 0 ? s.frames : s.frames.slice(0, outer + 1)).map((f, i) => i === 0 ? place(side.frames[f]) : `<span class="path">${html(side.frames[f][0])}</span>`).join(" ← ");
    return `<tr class="row" data-function="${html(s.frames.length > 0 ? side.frames[s.frames[0]][0] : "")}">${cells}${extra}<td class="wide">${frames || "(no call context)"}</td></tr>`;
  }).join("");
  const whole = model.range === null ? "" : '<p class="path">Of the whole trace; the selected range is in the graph.</p>';
  const more = rows.length > shown.length ? `<p class="path">${rows.length - shown.length} more; search to narrow</p>` : "";
  return `${whole}<table id="sites"><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>${more}`;
}
const sortable = (v) => v < 0 ? Infinity : v;

function bars(rows) {
  const most = Math.max(1, ...rows.map((r) => r[1]));
  return `<div class="bars">${rows.map(([name, value, text]) =>
    `<b>${html(name)}</b><i style="width:${(100 * value / most).toFixed(2)}%"></i><span>${html(text)}</span>`).join("")}</div>`;
}

function histogramsPanel(model) {
  const side = model.sides[model.sides.length - 1];
  const sizes = side.sizes.map(([limit, calls, sum]) => ["≤ " + bytes(limit), calls, `${count(calls)} · ${bytes(sum)}`]);
  const used = side.lives.findLastIndex((l) => l[0] !== null && l[1] > 0);
  const lives = side.lives.filter((l, i) => i <= used || l[0] === null).map(([ns, blocks], i) => [ns === null ? "to exit" : "≥ " + (i === 0 ? "0" : time(ns)), blocks, count(blocks)]);
  return `<div class="pair"><div><h2>Sizes, by calls</h2>${bars(sizes)}</div><div><h2>Lifetimes, by blocks</h2>${bars(lives)}</div></div>`;
}

function threadsPanel(model) {
  const side = model.sides[model.sides.length - 1];
  const rows = side.threads.map((t) => `<tr><td class="wide">${html(t.name || "thread")} <span class="path">${html(t.tid)}</span></td>` +
    `<td>${count(t.calls)}</td><td>${bytes(t.bytes)}</td><td>${bytes(t.live)}</td><td>${count(t.frees)}</td><td>${count(t.others)}</td></tr>`).join("");
  const name = (i) => side.threads[i] === undefined ? "?" : `${side.threads[i].name || "thread"} ${side.threads[i].tid}`;
  const pairs = side.pairs.map(([from, to, frees, sum]) => [`${name(from)} → ${name(to)}`, frees, `${count(frees)} frees · ${bytes(sum)}`]);
  return `<table><thead><tr><th class="wide">Thread</th><th>Calls</th><th>Bytes</th><th>Left</th><th>Frees</th><th>Of others</th></tr></thead><tbody>${rows}</tbody></table>` +
    (pairs.length > 0 ? `<h2 style="margin-top:16px">Allocated by → freed by</h2>${bars(pairs)}` : "");
}

function advicePanel(model) {
  const side = model.sides[model.sides.length - 1];
  if (side.advice.length === 0) return "<p>Nothing worth a percent of the calls or five of the peak.</p>";
  return side.advice.map((a) => `<div class="advice"><b>${html(a.place)}</b>${html(a.text)}</div>`).join("");
}
