// A worker that draws. In: first {page}, the page's description, then {z, psi, label} for each picture.
// Out: {part}, the share of the download; {ready}; {pixels, ms} for each picture; {error}, a text.

let page, ort, session;

onmessage = async ({ data }) => {
  try {
    if (data.page) await load(data.page);
    else await draw(data);
  } catch (error) {
    postMessage({ error: error.message });
  }
};

async function load(description) {
  page = description;
  const [code, wasm, weights] = await Promise.all([file(page.runtime.module), file(page.runtime.wasm), download(page.model)]);
  ort = await import(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1; // more need headers that simple hosts do not send
  session = await ort.InferenceSession.create(weights, { executionProviders: ['wasm'] });
  postMessage({ ready: true });
}

// A part of the runtime; the browser refuses one that has another hash.
async function file({ url, integrity }) {
  return (await answer(url, { integrity })).arrayBuffer();
}

async function answer(url, options) {
  const response = await fetch(url, options).catch((error) => { throw new Error(`${url}: ${error.message}`); });
  if (!response.ok) throw new Error(`${url}: the server answers ${response.status}`);
  return response;
}

async function download({ url, bytes }) {
  const whole = new Uint8Array(bytes);
  const reader = (await answer(url, { cache: 'no-cache' })).body.getReader();
  let done = 0;
  for (;;) {
    const { value } = await reader.read();
    if (!value || done + value.length > bytes) break;
    whole.set(value, done);
    done += value.length;
    postMessage({ part: done / bytes });
  }
  if (done !== bytes) throw new Error(`${url} is not the file of this page: expected ${bytes} bytes`);
  return whole;
}

async function draw({ z, psi, label }) {
  const start = performance.now();
  const inputs = { z: new ort.Tensor('float32', z, [1, z.length]), truncation_psi: new ort.Tensor('float32', [psi], []) };
  if (label.length) inputs.label = new ort.Tensor('float32', label, [label.length]);
  const { image } = await session.run(inputs);
  postMessage({ pixels: toPixels(image.data, page.size ** 2, page.channels), ms: performance.now() - start });
}

// [channels, size, size], about -1 to 1 -> RGBA bytes, as generate.py rounds them.
function toPixels(image, area, channels) {
  const pixels = new Uint8ClampedArray(4 * area).fill(255);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = Math.floor(image[channels === 1 ? i : c * area + i] * 127.5 + 128);
  }
  return pixels;
}
