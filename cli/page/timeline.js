// timeline.js: heap and RSS over time on a canvas; a range is selected by dragging.
"use strict";
class Timeline {
  constructor(canvas, sides, tell) {
    this.canvas = canvas; this.tell = tell;   // tell(from, to) in slices, or tell(null)
    this.sides = sides;
    this.side = sides[sides.length - 1];
    this.range = null;
    this.end = Math.max(...sides.map((s) => s.duration_ns), 1);
    let start = null;
    const slice = (e) => Math.min(this.slices() - 1, Math.max(0, Math.floor(e.offsetX / canvas.clientWidth * this.slices())));
    canvas.addEventListener("pointerdown", (e) => { start = slice(e); canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointermove", (e) => {
      if (start !== null) { this.range = [Math.min(start, slice(e)), Math.max(start, slice(e)) + 1]; this.draw(); }
      tell.hover(this.words(e), e);
    });
    canvas.addEventListener("pointerup", (e) => {
      const from = start;
      start = null;
      if (from === null) return;
      if (from === slice(e)) this.range = null;   // a click takes the range away
      tell.range(this.range);
    });
    canvas.addEventListener("pointerleave", () => tell.hover(""));
  }
  slices() { return this.side.slices === null ? 100 : this.side.slices.packed.length; }
  words(e) {
    const ns = e.offsetX / this.canvas.clientWidth * this.end;
    const words = [time(ns)];
    for (const side of this.sides) {
      const name = this.sides.length > 1 ? (side === this.side ? "new " : "base ") : "";
      const at = side.heap.find((p) => p[0] >= ns);
      if (at !== undefined) words.push(name + "heap " + bytes(at[1]));
      const rss = side.rss.findLast ? side.rss.findLast((p) => p[0] <= ns) : undefined;
      if (rss !== undefined) words.push(name + "RSS " + bytes(rss[1]));
    }
    return words.join("  ·  ");
  }
  // h: of the plot; what stands below it is the axis.
  line(g, points, w, h, top, fill, stroke, dash) {
    if (points.length === 0) return;
    const x = (ns) => ns / this.end * w;
    const y = (n) => h - n / top * (h - 14);
    g.beginPath();
    g.moveTo(fill ? 0 : x(points[0][0]), fill ? h : y(points[0][1]));
    let before = points[0][1];
    for (const [ns, n] of points) {
      if (!fill) g.lineTo(x(ns), y(before));   // samples: as it was until the next
      g.lineTo(x(ns), y(n));
      before = n;
    }
    g.lineTo(w, y(before));
    g.setLineDash(dash);
    g.strokeStyle = stroke; g.lineWidth = 1.4; g.stroke();
    g.setLineDash([]);
    if (fill) { g.lineTo(w, h); g.closePath(); g.globalAlpha = 0.3; g.fillStyle = stroke; g.fill(); g.globalAlpha = 1; }
  }
  most(what) { return Math.max(1, ...this.sides.flatMap((s) => s[what].map((p) => p[1]))); }
  // What the lines are, right of the plot's top.
  legend(g, w, names, ink) {
    g.textAlign = "right";
    let x = w - 4;
    for (const [name, stroke, dash] of names.reverse()) {
      g.fillStyle = ink; g.fillText(name, x, 10);
      x -= g.measureText(name).width + 6;
      g.strokeStyle = stroke; g.setLineDash(dash); g.lineWidth = 2;
      g.beginPath(); g.moveTo(x - 18, 6); g.lineTo(x, 6); g.stroke(); g.setLineDash([]);
      x -= 34;
    }
  }
  draw() {
    const ratio = window.devicePixelRatio || 1;
    const w = this.canvas.clientWidth || 1000, all = 166, h = all - 16;
    this.canvas.width = w * ratio; this.canvas.height = all * ratio;
    const g = this.canvas.getContext("2d");
    g.scale(ratio, ratio);
    const css = getComputedStyle(document.documentElement);
    const color = (name) => css.getPropertyValue(name).trim();
    // One scale, but for a heap that would be flat beside what else is resident.
    const heap = this.most("heap"), rss = this.most("rss"), apart = rss > 3 * heap;
    const most = apart ? heap : Math.max(heap, rss), right = apart ? rss : most;
    g.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    const height = (i) => h - i / 3 * (h - 14);
    g.strokeStyle = color("--line"); g.lineWidth = 1;
    for (let i = 1; i <= 3; i++) { g.beginPath(); g.moveTo(0, height(i)); g.lineTo(w, height(i)); g.stroke(); }
    if (this.range !== null) {
      g.fillStyle = color("--pick");
      g.fillRect(this.range[0] / this.slices() * w, 0, (this.range[1] - this.range[0]) / this.slices() * w, h);
    }
    const names = [];
    for (const side of this.sides) {
      const old = this.sides.length > 1 && side !== this.side;
      const [tone, dash] = old ? ["--soft", [4, 3]] : ["--heap", []];
      this.line(g, side.heap, w, h, most, !old, color(tone), dash);
      names.push([old ? "heap before" : "heap", color(tone), dash]);
      if (old || side.rss.length === 0) continue;
      this.line(g, side.rss, w, h, right, false, color("--rss"), [2, 2]);
      names.push([apart ? "RSS (right)" : "RSS", color("--rss"), [2, 2]]);
    }
    // Numbers stand before the lines, on a rim of the ground's colour.
    const label = (text, x, y, ink) => {
      g.lineWidth = 3; g.strokeStyle = color("--card"); g.strokeText(text, x, y);
      g.fillStyle = color(ink); g.fillText(text, x, y);
    };
    for (let i = 1; i <= 3; i++) {
      g.textAlign = "left"; label(bytes(most * i / 3), 4, height(i) + 11, apart ? "--heap" : "--soft");
      g.textAlign = "right"; if (apart) label(bytes(right * i / 3), w - 4, height(i) + 11, "--rss");
    }
    this.legend(g, w, names, color("--soft"));
    g.fillStyle = color("--soft");
    g.textAlign = "left"; g.fillText("0", 4, all - 3);
    g.textAlign = "right"; g.fillText(time(this.end), w - 4, all - 3);
    g.textAlign = "center"; g.fillText(time(this.end / 2), w / 2, all - 3);
  }
}
