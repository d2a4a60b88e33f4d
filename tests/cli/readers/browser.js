// browser.js: a headless Chromium and one page in it, driven through the pipe of the DevTools protocol: needs nothing but
// node. Every call waits until the browser has answered; what the page does wrong is collected in `faults`.
"use strict";
const { spawn } = require("child_process");

class Browser {
  constructor(executable, profile) {
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank"];
    this.child = spawn(executable, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.waiting = new Map();   // number of a call -> what to do with its answer
    this.heard = new Map();     // event -> who waits for it
    this.faults = [];
    this.count = 0;
    let rest = "";
    this.child.stdio[4].setEncoding("utf8").on("data", (text) => {
      const messages = (rest + text).split("\0");
      rest = messages.pop();
      messages.forEach((m) => this.take(JSON.parse(m)));
    });
    this.child.on("exit", () => { for (const w of this.waiting.values()) w.reject(new Error("the browser has ended")); });
  }
  take(message) {
    const call = this.waiting.get(message.id);
    if (call !== undefined) {
      this.waiting.delete(message.id);
      if (message.error) call.reject(new Error(message.error.message)); else call.resolve(message.result);
    } else if (message.method === "Runtime.exceptionThrown") {
      this.faults.push(JSON.stringify(message.params.exceptionDetails));
    } else if (message.method === "Network.requestWillBeSent" && !/^(file|data):/.test(message.params.request.url)) {
      this.faults.push("asked the network for " + message.params.request.url);
    }
    if (this.heard.has(message.method)) this.heard.get(message.method)();
  }
  send(method, params = {}) {
    const id = ++this.count;
    this.child.stdio[3].write(JSON.stringify({ id, method, params, sessionId: this.session }) + "\0");
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }
  // Opens a page of that size; resolves once it is loaded.
  async open(url, width, height, dark = false) {
    if (this.session === undefined) {
      const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
      this.session = sessionId;
      for (const domain of ["Page", "Runtime", "Network"]) await this.send(domain + ".enable");
    }
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
    const loaded = new Promise((resolve) => this.heard.set("Page.loadEventFired", resolve));
    await this.send("Page.navigate", { url: "about:blank" });
    await loaded;
    const shown = new Promise((resolve) => this.heard.set("Page.loadEventFired", resolve));
    await this.send("Page.navigate", { url });
    await shown;
  }
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(expression + ": " + JSON.stringify(exceptionDetails));
    return result.value;
  }
  text(selector) { return this.evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`); }
  async box(selector) {
    const box = await this.evaluate(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); if (e === null) return null;
      e.scrollIntoView({ block: "nearest" }); const b = e.getBoundingClientRect(); return { x: b.x, y: b.y, width: b.width, height: b.height }; })()`);
    if (box === null) throw new Error("there is no " + selector);
    return box;
  }
  mouse(type, x, y) {
    return this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", buttons: type === "mouseReleased" ? 0 : 1, clickCount: 1 });
  }
  // In the middle, or so far from the left and the top.
  async click(selector, x, y) {
    const box = await this.box(selector);
    const at = [box.x + (x ?? box.width / 2), box.y + (y ?? box.height / 2)];
    await this.mouse("mousePressed", ...at);
    await this.mouse("mouseReleased", ...at);
  }
  async drag(selector, from, to, y) {
    const box = await this.box(selector);
    await this.mouse("mousePressed", box.x + from, box.y + y);
    await this.mouse("mouseMoved", box.x + to, box.y + y);
    await this.mouse("mouseReleased", box.x + to, box.y + y);
  }
  async key(key) {
    const text = key.length === 1 ? key : key === "Enter" ? "\r" : undefined;
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", key, text });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", key });
  }
  async picture(path, whole = false) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: whole });
    require("fs").writeFileSync(path, Buffer.from(data, "base64"));
  }
  close() {
    this.child.removeAllListeners("exit");
    return this.send("Browser.close").catch(() => this.child.kill());
  }
}
module.exports = { Browser };
