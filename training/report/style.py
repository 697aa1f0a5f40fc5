"""Style and script of the report page, as text that stands inside it.

Line colours are told apart with every common colour blindness (after Okabe and Ito, with darker tones on white and lighter ones
on black) and repeat with other dashes.
"""

LIGHT_LINES = ('#0069a8', '#c04a00', '#00805a', '#a8457f', '#806000', '#4a4a4a')
DARK_LINES = ('#62b8ee', '#f79257', '#3ccba0', '#e699c6', '#e8bd3a', '#c4c4c4')
DASHES = ('none', '7 4', '2 4', '10 4 2 4')


def _colours(colours: tuple[str, ...]) -> str:
    return ' '.join(f'--line{i}: {colour};' for i, colour in enumerate(colours))


def _line_rules() -> str:
    count = len(LIGHT_LINES)
    return '\n'.join(f'.line{i} {{ stroke: var(--line{i % count}); stroke-dasharray: {DASHES[i // count]}; }} '
                     f'.name{i} {{ fill: var(--line{i % count}) !important; }}' for i in range(count * len(DASHES)))


CSS = f"""
:root {{ color-scheme: light dark; --back: #ffffff; --box: #f4f5f7; --text: #1b1d21; --soft: #585d66; --rule: #d5d8de;
  --accent: #0069a8; --warn: #fff3d6; {_colours(LIGHT_LINES)} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --back: #15171b; --box: #1f2228; --text: #e9eaed; --soft: #a9aeb8; --rule: #3a3f48;
    --accent: #62b8ee; --warn: #3a3116; {_colours(DARK_LINES)} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 1rem clamp(.75rem, 2.5vw, 2rem) 3rem; max-width: 1640px; background: var(--back);
  color: var(--text); font: 15px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.35rem; margin: 0 0 .25rem; }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--rule); }}
p {{ margin: .35rem 0; max-width: 75ch; }}
small, .note, .soft {{ color: var(--soft); font-size: .82rem; font-weight: normal; }}
code {{ font-size: .92em; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 155px), 1fr)); gap: .6rem; margin: .9rem 0; }}
.tiles div {{ background: var(--box); border-radius: 6px; padding: .55rem .8rem; }}
.tiles b {{ display: block; font-size: 1.1rem; font-variant-numeric: tabular-nums; }}
.notes {{ background: var(--warn); border-radius: 6px; padding: .6rem .8rem .6rem 1.9rem; margin: .8rem 0; }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); gap: 1.2rem 1.6rem; }}
figure {{ margin: 0; min-width: 0; }}
figcaption {{ font-weight: 600; margin-bottom: .2rem; }}
.chart {{ max-width: 560px; }}
.chart > svg {{ display: block; width: 100%; height: auto; }}
.chart > svg:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
svg text {{ fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums; }}
.line {{ fill: none; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }}
.grid {{ stroke: var(--rule); stroke-width: .8; fill: none; }}
.axis, .cursor {{ stroke: var(--soft); stroke-width: 1; fill: none; }}
[hidden] {{ display: none !important; }}
.legend {{ list-style: none; margin: .2rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .05rem 1rem;
  font-size: .85rem; }}
.legend b {{ font-variant-numeric: tabular-nums; }}
.swatch {{ width: 26px; height: 8px; vertical-align: middle; margin-right: .3rem; }}
.at {{ color: var(--soft); font-variant-numeric: tabular-nums; }}
.control {{ display: flex; flex-wrap: wrap; align-items: center; gap: .4rem 1rem; margin-bottom: .8rem; }}
.control input[type=range] {{ flex: 1 1 220px; min-width: 0; max-width: 700px; accent-color: var(--accent); }}
.control output {{ min-width: 15ch; font-weight: 600; font-variant-numeric: tabular-nums; }}
.grids {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 1rem; align-items: start; }}
.viewer:has(.larger:checked) .grids {{ grid-template-columns: minmax(0, 1fr); }}
.grids img {{ display: block; max-width: 100%; height: auto; background: #fff; }}
.viewer:has(.larger:checked) .grids img {{ width: 100%; }}
.scroll {{ overflow-x: auto; max-width: 100%; }}
.charts + .scroll {{ margin-top: 1.2rem; }}
table {{ border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; vertical-align: top; padding: .22rem .9rem .22rem 0; border-bottom: 1px solid var(--rule);
  min-width: 5.5ch; }}
td, th {{ overflow-wrap: break-word; }}
.names td, .names th {{ overflow-wrap: anywhere; }}
td.number, th.number, .overview td:last-child {{ white-space: nowrap; }}
td.number, th.number {{ text-align: right; }}
.names th, .names td {{ min-width: 16ch; }}
summary {{ cursor: pointer; margin: .6rem 0; color: var(--accent); }}
{_line_rules()}
""".strip()

# The slider shows, of every run, the newest frame that is not later than its place. A chart shows the values of its lines at
# the point nearest to the pointer, or to the place that the arrow keys move.
SCRIPT = """
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
""".strip()
