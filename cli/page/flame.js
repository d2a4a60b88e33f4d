// flame.js: the flame graph on a canvas, root on top. Draws a tree of model.js; tells what the pointer is on.
"use strict";
class Flame {
  constructor(canvas, tell) {
    this.canvas = canvas;
    this.tell = tell;   // {zoom(node), hover(node, event)}
    this.row = 19;
    this.zoomed = 0;
    this.marked = 0;
    this.boxes = [];
    canvas.addEventListener("mousemove", (e) => { tell.hover(this.at(e), e); });
    canvas.addEventListener("mouseleave", () => tell.hover(-1));
    canvas.addEventListener("click", (e) => { const node = this.at(e); if (node >= 0) { this.marked = node; tell.zoom(node); } });
  }
  show(tree, functions, matches) {
    this.tree = tree; this.functions = functions; this.matches = matches;
    if (this.zoomed >= tree.parent.length) this.zoomed = 0;
    this.draw();
  }
  // From what a node's width comes: now, or the greater side of a difference.
  weight(node) {
    return this.tree.base === null ? this.tree.now[node] : Math.max(this.tree.now[node], this.tree.base[node]);
  }
  layout(width) {
    const boxes = [];
    const path = [];
    for (let n = this.zoomed; n !== 0; n = this.tree.parent[n]) path.unshift(n);
    path.unshift(0);
    path.forEach((n, depth) => boxes.push({ node: n, x: 0, w: width, depth }));
    const stack = [{ node: this.zoomed, x: 0, w: width, depth: path.length - 1 }];
    while (stack.length > 0) {
      const box = stack.pop();
      const whole = this.weight(box.node);
      let all = 0;
      for (const kid of this.tree.kids[box.node]) all += this.weight(kid);
      const scale = whole > 0 ? box.w / Math.max(whole, all) : 0;
      let x = box.x;
      for (const kid of this.tree.kids[box.node]) {
        const w = this.weight(kid) * scale;
        if (w >= 0.6) {
          const made = { node: kid, x, w, depth: box.depth + 1 };
          boxes.push(made);
          stack.push(made);
        }
        x += w;
      }
    }
    return boxes;
  }
  color(node, dark) {
    if (this.matches !== null && this.tree.fn[node] >= 0 && this.matches[this.tree.fn[node]])
      return dark ? "#c2318f" : "#e77fc0";
    if (node === 0) return dark ? "#3a3835" : "#d8d3cb";
    if (this.tree.base !== null) {
      const base = this.tree.base[node], now = this.tree.now[node];
      const change = (now - base) / Math.max(now, base, 1);
      const light = dark ? 30 : 78;
      if (change === 0) return `hsl(40 6% ${light + (dark ? 0 : 6)}%)`;
      return `hsl(${change > 0 ? 6 : 208} ${Math.round(15 + 65 * Math.abs(change))}% ${light - Math.round(8 * Math.abs(change))}%)`;
    }
    const f = this.functions[this.tree.fn[node]];
    let hash = 0;
    for (const c of f.module) hash = (hash * 31 + c.charCodeAt(0)) | 0;
    let shade = 0;
    for (const c of f.name) shade = (shade * 31 + c.charCodeAt(0)) | 0;
    const own = f.module === this.main;
    const hue = own ? 22 + (shade & 15) : 150 + (Math.abs(hash) % 110) + (shade & 15);
    const strength = own ? (dark ? 45 : 68) : (dark ? 22 : 34);
    return `hsl(${hue} ${strength}% ${(dark ? 30 : 75) + (Math.abs(shade >> 4) % 9)}%)`;
  }
  draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth || 1000;
    this.boxes = this.layout(width);
    const depth = this.boxes.reduce((most, b) => Math.max(most, b.depth), 0) + 1;
    this.canvas.style.height = depth * this.row + "px";
    this.canvas.width = width * ratio;
    this.canvas.height = depth * this.row * ratio;
    const g = this.canvas.getContext("2d");
    const dark = isDark();
    g.scale(ratio, ratio);
    g.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    g.textBaseline = "middle";
    const ink = dark ? "#f1eee9" : "#22211f";
    for (const box of this.boxes) {
      const y = box.depth * this.row;
      g.fillStyle = this.color(box.node, dark);
      g.globalAlpha = this.matches !== null && box.node !== 0 && !this.matches[this.tree.fn[box.node]] ? 0.45 : 1;
      g.fillRect(box.x, y, Math.max(box.w - 0.6, 0.6), this.row - 1);
      g.globalAlpha = 1;
      if (box.node === this.marked && this.marked !== 0) {
        g.strokeStyle = ink; g.lineWidth = 1.5;
        g.strokeRect(box.x + 0.75, y + 0.75, Math.max(box.w - 2, 1), this.row - 2.5);
      }
      if (box.w > 30) this.label(g, box, y, ink);
    }
  }
  label(g, box, y, ink) {
    let text = box.node === 0 ? "all" : this.functions[this.tree.fn[box.node]].name;
    const room = Math.floor((box.w - 8) / 6.6);
    if (text.length > room) text = room > 3 ? text.slice(0, room - 1) + "…" : "";
    g.fillStyle = ink;
    g.fillText(text, box.x + 4, y + this.row / 2);
  }
  at(event) {
    const x = event.offsetX, depth = Math.floor(event.offsetY / this.row);
    const box = this.boxes.find((b) => b.depth === depth && x >= b.x && x < b.x + b.w);
    return box === undefined ? -1 : box.node;
  }
  // Arrow keys: the parent, the heaviest child, the siblings beside.
  move(key) {
    const t = this.tree, at = this.marked;
    const mates = at === 0 ? [0] : t.kids[t.parent[at]];
    const place = mates.indexOf(at);
    const to = { ArrowUp: t.parent[at], ArrowDown: t.kids[at][0], ArrowLeft: mates[place - 1], ArrowRight: mates[place + 1] }[key];
    if (to !== undefined) this.marked = to;
    this.draw();
    return this.marked;
  }
}
