// The slider shows, of every run, the newest frame that is not later than its place. A chart shows the values of its lines at
// the point nearest to the pointer, or to the place that the arrow keys move.
for (const viewer of document.querySelectorAll('.viewer')) {
  const slider = viewer.querySelector('input[type=range]'), output = viewer.querySelector('output');
  if (!slider) continue;
  const steps = JSON.parse(slider.dataset.kimg);
  const show = () => {
    const kimg = steps[slider.value];
    output.textContent = kimg.toLocaleString('en') + ' thousand images';
    for (const frames of viewer.querySelectorAll('.frames')) {
      const images = [...frames.querySelectorAll('img')];
      const current = images.filter(image => Number(image.dataset.kimg) <= kimg).pop() || images[0];
      for (const image of images) image.hidden = image !== current;
      frames.querySelector('.of').textContent = current ? current.alt : '';
    }
  };
  slider.addEventListener('input', show);
  show();
}
for (const chart of document.querySelectorAll('.chart')) {
  const svg = chart.querySelector('svg'), cursor = svg.querySelector('.cursor'), at = chart.querySelector('.at');
  const {axis: [low, high, start, end], lines} = JSON.parse(chart.querySelector('script').textContent);
  const values = [...chart.querySelectorAll('.legend b')], ends = values.map(value => value.textContent);
  const places = [...new Set(lines.flatMap(line => line[0]))].sort((a, b) => a - b);
  const nearest = (xs, x) => xs.reduce((best, value, i) => Math.abs(value - x) < Math.abs(xs[best] - x) ? i : best, 0);
  let place = places.length - 1;
  const show = x => {
    place = nearest(places, x);
    const pixel = start + (places[place] - low) / (high - low) * (end - start);
    cursor.removeAttribute('hidden');
    cursor.setAttribute('x1', pixel); cursor.setAttribute('x2', pixel);
    lines.forEach(([xs, ys], i) => { values[i].textContent = ys[nearest(xs, places[place])]; });
    at.textContent = 'at ' + places[place].toLocaleString('en') + ' thousand images';
  };
  const leave = () => {
    cursor.setAttribute('hidden', ''); at.textContent = '';
    values.forEach((value, i) => { value.textContent = ends[i]; });
  };
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect();
    const pixel = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    show(low + (pixel - start) / (end - start) * (high - low));
  });
  svg.addEventListener('keydown', event => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step) return;
    event.preventDefault();
    show(places[Math.max(0, Math.min(places.length - 1, cursor.hasAttribute('hidden') ? place : place + step))]);
  });
  svg.addEventListener('pointerleave', leave);
  svg.addEventListener('blur', leave);
}
