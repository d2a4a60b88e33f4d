// model.js: the data of the page as trees and sums; knows nothing of the document. Figures are by merged node: the same
// function under the same callers, whatever the line, in one or both sides of a difference.
"use strict";
const METRICS = [["bytes", "Bytes", bytes], ["calls", "Calls", count], ["peak", "Peak", bytes], ["live", "Leaked", bytes],
  ["temporary", "Temporary", count]];

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0, x = Math.abs(n);
  while (x >= 1023.5 && unit < 4) { x /= 1024; unit++; }
  return (n < 0 ? "−" : "") + (unit === 0 ? x : x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : x.toFixed(0)) + " " + units[unit];
}
function count(n) {
  const units = ["", " K", " M", " G", " T"];
  let unit = 0, x = Math.abs(n);
  while (x >= 999.5 && unit < 4) { x /= 1000; unit++; }
  return (n < 0 ? "−" : "") + (unit === 0 ? x : x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : x.toFixed(0)) + units[unit];
}
function time(ns) {
  if (ns === null) return "to exit";
  if (ns < 1e3) return ns.toFixed(0) + " ns";
  if (ns < 1e6) return (ns / 1e3).toPrecision(3) + " µs";
  if (ns < 1e9) return (ns / 1e6).toPrecision(3) + " ms";
  return ns < 6e11 ? (ns / 1e9).toPrecision(3) + " s" : (ns / 6e10).toFixed(0) + " min";
}
function share(part, whole) {
  const p = whole === 0 ? 0 : 100 * part / whole;
  if (p > 99.5 && p < 100) return ">99%";
  return p > 0 && p < 0.5 ? "<1%" : p.toFixed(p > 0 && p < 10 ? 1 : 0) + "%";
}

// A slice's node, calls, bytes, temporary, change of live bytes, and the next node's; unpacked when first asked for, as
// few pages are ever asked. Five bits a character; nodes are told by their distance, changes with the sign lowest.
function entriesOf(slices, at) {
  slices.entries ??= [];
  if (slices.entries[at] !== undefined) return slices.entries[at];
  const text = slices.packed[at], entries = [];
  let value = 0, scale = 1, node = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i), digit = c - (c > 92 ? 63 : 62);
    value += (digit & 31) * scale;
    scale *= 32;
    if (digit > 31) continue;
    const column = entries.length % 5;
    if (column === 0) value = node += value;
    else if (column === 4) value = value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    entries.push(value);
    value = 0;
    scale = 1;
  }
  return slices.entries[at] = entries;
}

class Model {
  constructor(data) {
    this.data = data;
    this.sides = data.sides;
    this.diff = data.sides.length === 2;
    this.names = new Map();   // key of a function -> number
    this.functions = [];      // {name, full, module}
    this.parent = [0]; this.fn = [-1]; this.line = [""]; this.kids = [new Map()];
    this.map = this.sides.map((side) => this.merge(side));
    this.size = this.parent.length;
    this.inverse = null;
    this.range = null;
  }
  // Frames of a side to numbers of functions.
  functionsOf(side) {
    return side.frames.map(([name, full, , , module]) => {
      const key = (full || name) + "\0" + (this.diff ? side.modules[module].replace(/.*\//, "") : side.modules[module]);
      if (!this.names.has(key)) {
        this.names.set(key, this.functions.length);
        this.functions.push({ name, full: full || name, module: side.modules[module] });
      }
      return this.names.get(key);
    });
  }
  merge(side) {
    const fns = this.functionsOf(side);
    const map = new Int32Array(side.tree.parent.length);
    for (let i = 1; i < map.length; i++) {
      const up = map[side.tree.parent[i]];
      const frame = side.tree.frame[i];
      const fn = frame < 0 ? this.rest() : fns[frame];
      let node = this.kids[up].get(fn);
      if (node === undefined) {
        node = this.parent.length;
        this.parent.push(up); this.fn.push(fn); this.kids.push(new Map());
        const f = frame < 0 ? ["", 0, 0, 0] : side.frames[frame];
        this.line.push(f[2] ? f[2] + ":" + f[3] : "");
        this.kids[up].set(fn, node);
      }
      map[i] = node;
    }
    return map;
  }
  rest() {
    if (!this.names.has("\0rest")) {
      this.names.set("\0rest", this.functions.length);
      this.functions.push({ name: "(small)", full: "stacks too small to show", module: "" });
    }
    return this.names.get("\0rest");
  }
  // What was allocated right at each node of a side.
  own(side, metric) {
    const out = new Float64Array(this.size);
    const from = this.sides[side];
    const map = this.map[side];
    if (this.range !== null && side === this.sides.length - 1 && from.slices !== null)
      this.ownOfRange(out, from.slices, map, metric);
    else
      from.tree[metric].forEach((value, i) => { out[map[i]] += value; });
    return out;
  }
  ownOfRange(out, slices, map, metric) {
    const [from, to] = this.range;
    const last = metric === "peak" ? this.highest(from, to) + 1 : to;
    const column = { calls: 1, bytes: 2, temporary: 3, live: 4, peak: 4 }[metric];
    for (let s = column === 4 ? 0 : from; s < last; s++) {
      const entries = entriesOf(slices, s);
      for (let i = 0; i < entries.length; i += 5) out[map[entries[i]]] += entries[i + column];
    }
  }
  // The slice at whose end most is live.
  highest(from, to) {
    const slices = this.sides[this.sides.length - 1].slices;
    let live = 0, best = from, most = -1;
    for (let s = 0; s < to; s++) {
      const entries = entriesOf(slices, s);
      for (let i = 0; i < entries.length; i += 5) live += entries[i + 4];
      if (s >= from && live > most) { most = live; best = s; }
    }
    return best;
  }
  // A tree of {parent, fn, kids} with inclusive sums per side.
  tree(metric, inverted) {
    const shape = inverted ? this.inverted() : { parent: this.parent, fn: this.fn, line: this.line, of: null };
    const sums = this.sides.map((_, side) => {
      const own = this.own(side, metric);
      let sum = own;
      if (inverted) {
        sum = new Float64Array(shape.parent.length);
        own.forEach((value, i) => { if (value !== 0) sum[shape.of[i]] += value; });
      }
      for (let i = sum.length - 1; i > 0; i--) sum[shape.parent[i]] += sum[i];
      return sum;
    });
    const kids = Array.from({ length: shape.parent.length }, () => []);
    const now = sums[sums.length - 1];
    for (let i = 1; i < shape.parent.length; i++)
      if (sums.some((s) => s[i] > 0)) kids[shape.parent[i]].push(i);
    for (const list of kids) list.sort((a, b) => now[b] - now[a] || a - b);
    return { parent: shape.parent, fn: shape.fn, line: shape.line, sums, now, base: this.diff ? sums[0] : null, kids };
  }
  inverted() {
    if (this.inverse !== null) return this.inverse;
    const used = new Uint8Array(this.size);
    this.sides.forEach((side, k) => side.tree.calls.forEach((n, i) => { if (n > 0) used[this.map[k][i]] = 1; }));
    const inv = { parent: [0], fn: [-1], line: [""], of: new Int32Array(this.size) };
    const kids = [new Map()];
    for (let i = 1; i < this.size; i++) {
      if (!used[i]) continue;
      let at = 0;
      for (let up = i; up !== 0; up = this.parent[up]) {
        let next = kids[at].get(this.fn[up]);
        if (next === undefined) {
          next = inv.parent.length;
          inv.parent.push(at); inv.fn.push(this.fn[up]); inv.line.push(this.line[up]); kids.push(new Map());
          kids[at].set(this.fn[up], next);
        }
        at = next;
      }
      inv.of[i] = at;
    }
    return this.inverse = inv;
  }
  // Functions that a search means.
  match(text) {
    if (text === "") return null;
    let test;
    try { const re = new RegExp(text, "i"); test = (s) => re.test(s); } catch { const low = text.toLowerCase(); test = (s) => s.toLowerCase().includes(low); }
    return this.functions.map((f) => test(f.full) || test(f.name));
  }
}
