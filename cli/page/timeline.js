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
  line(g, points, w, h, top, fill, stroke, dash) {
    if (points.length === 0) return;
    const x = (ns) => ns / this.end * w;
    const y = (n) => h - n / top * (h - 14);
    g.beginPath();
    g.moveTo(0, h);
    let before = 0;
    for (const [ns, n] of points) {
      if (!fill && before !== 0) g.lineTo(x(ns), y(before));   // samples: as it was until the next
      g.lineTo(x(ns), y(n));
      before = n;
    }
    g.lineTo(w, y(before));
    g.setLineDash(dash);
    g.strokeStyle = stroke; g.lineWidth = 1.4; g.stroke();
    g.setLineDash([]);
    if (fill) { g.lineTo(w, h); g.closePath(); g.globalAlpha = 0.3; g.fillStyle = stroke; g.fill(); g.globalAlpha = 1; }
  }
  draw() {
    const ratio = window.devicePixelRatio || 1;
    const w = this.canvas.clientWidth || 1000, h = 150;
    this.canvas.width = w * ratio; this.canvas.height = h * ratio;
    const g = this.canvas.getContext("2d");
    g.scale(ratio, ratio);
    const css = getComputedStyle(document.documentElement);
    const color = (name) => css.getPropertyValue(name).trim();
    const most = Math.max(1, ...this.sides.flatMap((s) => [...s.heap, ...s.rss].map((p) => p[1])));
    g.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    for (let i = 1; i <= 3; i++) {
      const y = h - i / 3 * (h - 14);
      g.strokeStyle = color("--line"); g.beginPath(); g.moveTo(0, y); g.lineTo(w, y); g.stroke();
      g.fillStyle = color("--soft"); g.fillText(bytes(most * i / 3), 4, y - 3);
    }
    if (this.range !== null) {
      g.fillStyle = color("--pick");
      g.fillRect(this.range[0] / this.slices() * w, 0, (this.range[1] - this.range[0]) / this.slices() * w, h);
    }
    for (const side of this.sides) {
      const old = this.sides.length > 1 && side !== this.side;
      this.line(g, side.heap, w, h, most, !old, color(old ? "--down" : "--heap"), old ? [4, 3] : []);
      if (!old) this.line(g, side.rss, w, h, most, false, color("--rss"), [2, 2]);
    }
    g.fillStyle = color("--soft");
    g.textAlign = "right"; g.fillText(time(this.end), w - 4, h - 4);
    g.textAlign = "center"; g.fillText(time(this.end / 2), w / 2, h - 4);
  }
}
