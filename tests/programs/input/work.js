// Objects, strings, buffers outside the JavaScript heap, promises, worker threads.
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const zlib = require('zlib');
const crypto = require('crypto');

function work(seed) {
  const map = new Map();
  for (let i = 0; i < 20000; i++) map.set('k' + ((i * seed) % 997), 'v'.repeat(i % 50) + i);
  const text = JSON.stringify([...map]);
  const packed = zlib.gzipSync(Buffer.from(text.repeat(4)));
  return crypto.createHash('sha256').update(zlib.gunzipSync(packed)).digest('hex');
}

if (!isMainThread) {
  parentPort.postMessage(work(workerData));
} else {
  const one = (seed) => new Promise((resolve, reject) => {
    new Worker(__filename, { workerData: seed }).on('message', resolve).on('error', reject);
  });
  (async () => {
    console.log(work(3));
    console.log(await Promise.all([5, 7, 11].map(one)));
    const buffers = [];
    for (let i = 0; i < 300; i++) buffers.push(Buffer.alloc((i * 7919) % 100000, i));
    console.log(crypto.createHash('md5').update(Buffer.concat(buffers)).digest('hex'));
  })();
}
