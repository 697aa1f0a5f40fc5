"""Line charts as SVG inside HTML, without a library.

A chart is drawn in units of its view box and scaled by the page. Colours and dashes come from the page's style; the
values stand beside the drawing as JSON, for the read-out under the pointer.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 420, 240
LEFT, TOP, BOTTOM = 52, 10, 34  # margins: numbers of the axis, air, numbers and title of the axis
RIGHT = 80  # margin for the names of the lines
BARE_RIGHT = 12  # where there are none
MAX_POINTS = 1000
NUM_COLOURS, NUM_DASHES = 6, 4  # of the style; lines of the same colour differ in dashes
LOG_RATIO = 200  # positive values of which the highest is this many times the median are drawn on a log scale
MIN_LOG_RATIO = 20  # a log scale that is asked for needs a highest value of this many times the lowest
MIN_LABEL_GAP = 12
NUM_TICKS = 5
MAX_LABEL_CHARS = 11
NAN = math.nan


@dataclasses.dataclass(frozen=True)
class Line:
    """Points (x, y) of a line, in order of x. A NaN in y breaks the line."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Axis:
    """Maps values in [low, high] to pixels in [start, end], on a log scale if asked for."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside the axis, a handful."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def line_chart(title: str, lines: Sequence[Line], unit: str = '', note: str = '', log: bool = False) -> str:
    """A figure with its legend; '' if no line has a finite value.

    x of the lines is in thousands of images. `note` explains the quantity in a sentence. log: prefer a log scale.
    """
    lines = [Line(line.name, thin(line.points)) for line in lines if any(math.isfinite(y) for _, y in line.points)]
    if not lines:
        return ''
    x_axis, y_axis = make_axes(lines, log)
    drawing = '\n'.join([
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" aria-label="{escape(title)}">',
        *_grid(x_axis, y_axis),
        *(f'<path class="{_style(i)}" d="{path_of(line, x_axis, y_axis)}"/>' for i, line in enumerate(lines)),
        *(_end_labels(lines, x_axis, y_axis) if len(lines) > 1 else []),
        f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" hidden=""/>',
        '</svg>',
    ])
    scale = ', log scale' if y_axis.log else ''
    heading = f'{escape(title)} <small>{escape(unit)}{scale}</small>' if unit or scale else escape(title)
    return '\n'.join([
        '<figure class="chart">', f'<figcaption>{heading}</figcaption>', drawing, _legend(lines),
        f'<p class="note">{escape(note)}</p>' if note else '',
        f'<script type="application/json">{_values(lines, x_axis)}</script>', '</figure>'])


def thin(points: Sequence[tuple[float, float]], limit: int = MAX_POINTS) -> list[tuple[float, float]]:
    """At most about `limit` points: of each stretch its lowest and highest, so that no spike is lost, and the two ends."""
    if len(points) <= limit:
        return list(points)
    inner = points[1:-1]
    step = math.ceil(len(inner) / (limit // 2))
    kept: list[tuple[float, float]] = []
    for begin in range(0, len(inner), step):
        finite = [point for point in inner[begin:begin + step] if math.isfinite(point[1])]
        if not finite:
            kept.append(inner[begin])
            continue
        extremes = {min(finite, key=lambda point: point[1]), max(finite, key=lambda point: point[1])}
        kept.extend(sorted(extremes))
    return [points[0], *kept, points[-1]]


def make_axes(lines: Sequence[Line], log: bool = False) -> tuple[Axis, Axis]:
    """Axes that hold every finite point with a little air above and below. log: prefer a log scale for y."""
    xs = [x for line in lines for x, _ in line.points]
    ys = sorted(y for line in lines for _, y in line.points if math.isfinite(y))
    low, high = ys[0], ys[-1]
    log = low > 0 and (high > LOG_RATIO * ys[len(ys) // 2] or (log and high > MIN_LOG_RATIO * low))
    if log:
        low, high = low / 1.3, high * 1.3
    elif high - low <= 1e-9 * max(abs(low), abs(high), 1e-280):  # a constant
        low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
    else:
        air = (high - low) * 0.05
        low, high = (0.0 if 0 <= low < (high - low) * 0.5 else low - air), high + air
    left, right = min(xs), max(xs)
    if left > 0 and (left == right or left < (right - left) * 0.2):
        left = 0.0
    right = right if right > left else left + 1
    margin = RIGHT if len(lines) > 1 else BARE_RIGHT
    return Axis(left, right, LEFT, WIDTH - margin), Axis(low, high, HEIGHT - BOTTOM, TOP, log)


def linear_ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high], at most NUM_TICKS and one more."""
    rough = (high - low) / NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, final = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12 - math.floor(math.log10(step))) for index in range(first, final + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in [low, high], with twice and five times of each if they are one or two."""
    first, final = math.ceil(math.log10(low)), math.floor(math.log10(high))
    if final - first < 2:
        ticks = [factor * 10.0 ** power for power in range(first - 1, final + 1) for factor in (1, 2, 5)]
        return [tick for tick in ticks if low <= tick <= high]
    return [10.0 ** power for power in range(first, final + 1, math.ceil((final - first + 1) / NUM_TICKS))]


def path_of(line: Line, x_axis: Axis, y_axis: Axis) -> str:
    """SVG path of a line, broken at NaN. A point alone becomes a dot, with the style's round ends."""
    commands, pen_down = [], False
    points = list(line.points)
    for (x, y), following in zip(points, [*points[1:], (NAN, NAN)], strict=True):
        if not math.isfinite(y):
            pen_down = False
            continue
        commands.append(f'{"L" if pen_down else "M"}{x_axis(x):.1f} {y_axis(y):.1f}')
        if not pen_down and not math.isfinite(following[1]):
            commands.append('h.01')
        pen_down = True
    return ''.join(commands)


def number(value: float) -> str:
    """A number for people: 4 digits, thousands apart."""
    if not math.isfinite(value):
        return 'not finite'
    if value == 0 or 1e-4 <= abs(value) < 1e9:
        digits = max(3 - math.floor(math.log10(abs(value))), 0) if value else 0
        text = f'{value:,.{digits}f}'
        return text.rstrip('0').rstrip('.') if '.' in text else text
    return f'{value:.3g}'


def _grid(x_axis: Axis, y_axis: Axis) -> list[str]:
    """Lines and numbers of both axes."""
    right, bottom = x_axis.end, HEIGHT - BOTTOM
    parts = []
    for value in y_axis.ticks():
        y = y_axis(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right:g}"/>'
                     f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value in x_axis.ticks():
        x = x_axis(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {bottom}v4"/>'
                     f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{number(value)}</text>')
    return [*parts, f'<path class="axis" d="M{LEFT} {bottom}H{right:g}"/>',
            f'<text x="{right:g}" y="{HEIGHT - 4}" text-anchor="end">thousand images</text>']


def _end_labels(lines: Sequence[Line], x_axis: Axis, y_axis: Axis) -> list[str]:
    """Names at the ends of the lines, moved apart; none where there is no room for all."""
    if len(lines) * MIN_LABEL_GAP > HEIGHT - TOP - BOTTOM:
        return []
    ends = sorted((y_axis(next(y for _, y in reversed(line.points) if math.isfinite(y))), i) for i, line in enumerate(lines))
    heights: list[float] = []
    for rank, (y, _) in enumerate(ends):
        lowest_left = HEIGHT - BOTTOM - (len(ends) - 1 - rank) * MIN_LABEL_GAP  # room for those below
        heights.append(min(max(y, heights[-1] + MIN_LABEL_GAP if heights else TOP), lowest_left))
    x = x_axis.end + 5
    return [f'<text class="name colour{i % NUM_COLOURS}" x="{x:g}" y="{y + 4:.1f}">{escape(_clip(lines[i].name))}</text>'
            for y, (_, i) in zip(heights, ends, strict=True)]


def _style(index: int) -> str:
    """Classes of the line with this number."""
    return f'line colour{index % NUM_COLOURS} dash{index // NUM_COLOURS % NUM_DASHES}'


def _clip(name: str) -> str:
    return name if len(name) <= MAX_LABEL_CHARS else f'{name[:MAX_LABEL_CHARS - 2]}..'


def _legend(lines: Sequence[Line]) -> str:
    """Names with their last values, which the page's script replaces by those under the pointer."""
    rows = [f'<li><svg class="swatch" viewBox="0 0 26 8" aria-hidden="true"><path class="{_style(i)}" d="M2 4H24"/>'
            f'</svg><span>{escape(line.name)}</span> <b>{number(line.points[-1][1])}</b></li>' for i, line in enumerate(lines)]
    return f'<ul class="legend">{"".join(rows)}<li class="at"></li></ul>'


def _values(lines: Sequence[Line], x_axis: Axis) -> str:
    """JSON for the read-out: where the axis lies, and of each line its x, and y as text. No '<' may end the script early."""
    return json.dumps(dict(
        axis=[x_axis.low, x_axis.high, x_axis.start, x_axis.end],
        lines=[[[float(f'{x:.6g}') for x, _ in line.points], [number(y) for _, y in line.points]] for line in lines],
    ), separators=(',', ':')).replace('<', '\\u003c')
