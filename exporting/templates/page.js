// Controls. A worker draws one picture at a time; what changes meanwhile is drawn next.
import { between, latent } from './latents.js';

const SECONDS_PER_SEED = 2; // of the animation

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId('page').textContent);
const sliders = []; // one input for each number of the label
const worker = new Worker('draw.js');
let position = 0; // the seed; while it moves, a point between two
let isReady = false, isDrawing = false, isChanged = false;
let walkedAt = null; // the time of the animation's last step, null while it rests

// --- the picture ---

function change() {
  isChanged = true;
  byId('figure').setAttribute('aria-busy', 'true');
  if (isReady && !isDrawing) draw();
}

function draw() {
  const label = readLabel();
  isChanged = false;
  if (label === null) {
    byId('figure').setAttribute('aria-busy', 'false');
    walk(false);
    say('All shares are 0: move a slider');
    return;
  }
  isDrawing = true;
  worker.postMessage({ z: latentAt(position), psi: Number(byId('psi').value), label });
}

function latentAt(place) {
  const seed = Math.floor(place);
  const first = latent(seed, page.zDim);
  return place === seed ? first : between(first, latent(seed + 1, page.zDim), place - seed);
}

// Float32Array; null for a mix of nothing.
function readLabel() {
  const numbers = sliders.map((slider) => Number(slider.value));
  if (!page.classes.length) return Float32Array.from(numbers);
  const sum = numbers.reduce((total, share) => total + share, 0);
  return sum ? Float32Array.from(numbers, (share) => share / sum) : null;
}

worker.onmessage = ({ data }) => {
  if (data.error !== undefined) fail(data.error);
  else if (data.part !== undefined) byId('progress').value = data.part;
  else if (data.ready) {
    isReady = true;
    byId('progress').hidden = true;
    draw();
  } else show(data);
};
worker.onerror = (event) => fail(event.message || 'draw.js cannot be loaded');

function show({ pixels, ms }) {
  isDrawing = false;
  byId('picture').getContext('2d').putImageData(new ImageData(pixels, page.size), 0, 0);
  const seed = Math.floor(position);
  say(position === seed ? `Seed ${seed}, drawn in ${Math.round(ms)} ms` : `Between seeds ${seed} and ${seed + 1}`);
  if (walkedAt !== null) requestAnimationFrame(step);
  else if (isChanged) draw();
  else byId('figure').setAttribute('aria-busy', 'false');
}

function say(text) {
  byId('status').textContent = text;
}

function fail(text) {
  byId('progress').hidden = true;
  byId('figure').setAttribute('aria-busy', 'false');
  say(`The picture cannot be drawn: ${text}`);
}

// --- the label ---

function addClass(name) {
  const only = document.createElement('button');
  only.type = 'button';
  only.textContent = name;
  only.title = `Only ${name}`;
  only.onclick = () => {
    for (const other of sliders) other.value = other === slider ? 1 : 0;
    showShares();
    change();
  };
  const slider = Object.assign(document.createElement('input'), { type: 'range', min: 0, max: 1, step: 0.01 });
  slider.value = sliders.length ? 0 : 1;
  slider.setAttribute('aria-label', `Share of ${name}`);
  slider.oninput = () => {
    showShares();
    change();
  };
  addRow(only, slider, document.createElement('output'));
}

function addNumber(index) {
  const name = document.createElement('label');
  name.textContent = `Number ${index + 1}`;
  name.htmlFor = `number${index}`;
  const box = Object.assign(document.createElement('input'), { type: 'number', step: 0.1, value: 0, id: name.htmlFor });
  box.oninput = change;
  addRow(name, box);
}

function addRow(name, input, ...more) {
  const row = document.createElement('div');
  row.className = 'row';
  row.append(name, input, ...more);
  byId('label').append(row);
  sliders.push(input);
}

function showShares() {
  const label = readLabel();
  sliders.forEach((slider, i) => {
    slider.nextElementSibling.value = `${Math.round(100 * (label ? label[i] : 0))}%`;
  });
}

function search(text) {
  const wanted = text.toLowerCase();
  sliders.forEach((slider, i) => {
    slider.parentElement.hidden = !page.classes[i].toLowerCase().includes(wanted);
  });
}

// --- the other controls ---

function setSeed(seed) {
  position = seed;
  change();
}

function walk(isWanted) {
  byId('walk').setAttribute('aria-pressed', isWanted);
  byId('walk').textContent = isWanted ? 'Stop' : 'Animate';
  walkedAt = isWanted ? performance.now() : null;
  if (isWanted && isReady && !isDrawing) requestAnimationFrame(step);
}

function step(now) {
  if (walkedAt === null) return change();
  position = (position + Math.max(now - walkedAt, 0) / 1000 / SECONDS_PER_SEED) % (2 ** 32 - 1);
  walkedAt = now;
  byId('seed').value = Math.floor(position);
  change();
}

byId('seed').oninput = ({ target }) => target.checkValidity() && setSeed(Number(target.value));
byId('new-seed').onclick = () => {
  byId('seed').value = Math.floor(Math.random() * 100000);
  setSeed(Number(byId('seed').value));
};
byId('psi').oninput = ({ target }) => {
  byId('psi-value').value = Number(target.value).toFixed(2);
  change();
};
byId('walk').onclick = () => walk(walkedAt === null);
byId('save').onclick = () => {
  const link = document.createElement('a');
  link.href = byId('picture').toDataURL();
  link.download = `seed${String(Math.floor(position)).padStart(4, '0')}.png`;
  link.click();
};
byId('controls').onsubmit = (event) => event.preventDefault();

if (page.classes.length) {
  page.classes.forEach(addClass);
  showShares();
  if (byId('search')) byId('search').oninput = ({ target }) => search(target.value);
} else {
  for (let i = 0; i < page.numDims; i++) addNumber(i);
}
byId('psi').value = 0.7; // browsers keep values over a reload
byId('seed').value = 0;
worker.postMessage({ page });
