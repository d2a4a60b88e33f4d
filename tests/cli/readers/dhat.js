// dhat.js FILE: reads a DHAT file with valgrind's own dh_view.js (argument 2, or where Debian has it) in a page that is
// none, and prints the total bytes and blocks of the tree it builds.
const fs = require("fs");
const vm = require("vm");

// Whatever is asked of the page, there is an element.
function element() {
  const known = { childNodes: [], selectedIndex: 0, classList: { contains: () => false }, selected: true };
  known.childNodes.entries = Array.prototype.entries;
  return new Proxy(function () {}, {
    get: (_, name) => (name in known ? known[name] : name === Symbol.toPrimitive ? () => "" : element()),
    set: () => true,
    apply: () => element(),
    construct: () => element(),
  });
}

const script = fs.readFileSync(process.argv[3] || "/usr/libexec/valgrind/dh_view.js", "utf8");
const page = { document: element(), window: element(), console, performance };
vm.createContext(page);
vm.runInContext(script, page);
page.text = fs.readFileSync(process.argv[2], "utf8");
vm.runInContext(`
  gSelect = { childNodes: [], selectedIndex: 0 };
  gSelect.childNodes.push({});
  gSelectData.length = 1;
  gData = JSON.parse(text);
  buildTree();
`, page);
const root = vm.runInContext("gRoot", page);
console.log(root._totalBytes, root._totalBlocks, root._atTGmaxBytes, root._atTEndBytes);
