"""Charts of the report: numbers against hand values and plain loops, the drawing against the values that went in."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from training.report.charts import Axis, Line, line_chart, linear_ticks, log_ticks, make_axes, number, path_of, thin

NAN = math.nan


def drawing(html):
    return ElementTree.fromstring(re.search(r'<svg viewBox="0 0 420.*?</svg>', html, re.DOTALL)[0])


def values(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])


def drawn(line, x_axis, y_axis):
    """Strokes of a path: lists of points."""
    strokes = path_of(line, x_axis, y_axis).split('M')[1:]
    return [[tuple(map(float, point.split())) for point in stroke.removesuffix('h.01').split('L')] for stroke in strokes]


def test_a_line_is_broken_where_values_are_not_finite():
    points = [(0, 0), (1, 0.5), (2, NAN), (3, 1), (4, NAN), (5, 0)]
    strokes = drawn(Line('a', points), Axis(0, 10, 0, 100), Axis(0, 1, 50, 0))
    assert strokes == [[(0, 50), (10, 25)], [(30, 0)], [(50, 50)]]


def test_log_axis_puts_equal_ratios_at_equal_distances():
    axis = Axis(0.01, 100, 0, 400, log=True)
    assert [axis(v) for v in (0.01, 0.1, 1, 10, 100)] == pytest.approx([0, 100, 200, 300, 400])


@pytest.mark.parametrize('num', [1000, 1001, 1003, 5000, 12345])
def test_thin_keeps_ends_and_every_spike(num):
    rng = np.random.default_rng(num)
    ys = rng.normal(size=num)
    ys[rng.integers(0, num, 5)] += 50
    points = list(enumerate(ys.tolist()))
    kept = thin(points, 1000)
    assert len(kept) <= 1002 and kept[0] == points[0] and kept[-1] == points[-1]
    assert kept == sorted(set(kept)) and set(kept) <= set(points)
    assert {point for point in points if point[1] > 40} <= set(kept) or np.diff(np.flatnonzero(ys > 40)).min() < 30
    assert max(y for _, y in kept) == max(ys) and min(y for _, y in kept) == min(ys)


def test_thin_keeps_gaps():
    points = [(i, NAN if 2000 <= i < 3000 else 1.0) for i in range(5000)]
    assert sum(math.isnan(y) for _, y in thin(points)) > 50


@pytest.mark.parametrize('low, high', [
    (0, 1), (-3.7, 12), (1e-12, 3e-12), (0.999, 1.001), (-1e9, 1e12), (5e250, 9e299), (0, 1e-280),
])
def test_linear_ticks_are_round_even_and_inside(low, high):
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-3
    assert all(low - 1e-6 * (high - low) <= tick <= high + 1e-6 * (high - low) for tick in ticks)


@pytest.mark.parametrize('low, high, expected', [
    (0.5, 30, [0.5, 1, 2, 5, 10, 20]), (1e-6, 1, [1e-6, 1e-4, 1e-2, 1]), (0.03, 0.07, [0.05]), (0.9, 1100, [1, 10, 100, 1000]),
])
def test_log_ticks(low, high, expected):
    assert log_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize('value, expected', [
    (0, '0'), (0.5, '0.5'), (1234.56, '1,235'), (12.3456, '12.35'), (0.000123456, '0.0001235'), (1e-7, '1e-07'), (-3.0, '-3'),
    (2e12, '2e+12'), (100, '100'), (NAN, 'not finite'), (math.inf, 'not finite'),
])
def test_numbers_for_people(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize('ys', [[3.0], [0.0, 0.0], [5e8, 5e8], [1, 2], [-1, -2], [1e-300, 2e-300], [1e299, -1e299], [NAN, 4.0]])
def test_every_finite_point_lies_inside_the_drawing(ys):
    lines = [Line('a', [(i * 0.1, y) for i, y in enumerate(ys)])]
    x_axis, y_axis = make_axes(lines)
    for x, y in lines[0].points:
        assert 0 <= x_axis(x) <= 420
        assert math.isnan(y) or -0.01 <= y_axis(y) <= 240
    assert drawing(line_chart('t', lines)) is not None


def test_a_spike_brings_a_log_scale_and_negative_values_forbid_it():
    spike = [(i, 1.0) for i in range(50)] + [(50, 1e5)]
    assert 'log scale' in line_chart('t', [Line('a', spike)])
    assert 'log scale' not in line_chart('t', [Line('a', [*spike, (51, -1.0)])])
    decay = [(i, math.exp(-i / 5)) for i in range(20)]
    assert 'log scale' in line_chart('t', [Line('a', decay)], log=True)
    assert 'log scale' not in line_chart('t', [Line('a', decay)])


@pytest.mark.parametrize('lines', [[], [Line('a', [])], [Line('a', [(0, NAN), (1, NAN)])]])
def test_nothing_to_draw(lines):
    assert line_chart('t', lines) == ''


def test_values_under_the_pointer_are_those_that_went_in():
    html = line_chart('t', [Line('a', [(0, 1.5), (2, NAN), (4, 2.25)]), Line('b', [(1, 7)])])
    found = values(html)
    assert found['lines'] == [[[0, 2, 4], ['1.5', 'not finite', '2.25']], [[1], ['7']]]
    assert found['axis'][:2] == [0, 4]


def test_hostile_names_stay_text():
    name = '</script><img src=x onerror=alert(1)>"\''
    html = line_chart(name, [Line(name, [(0, 1)]), Line('b', [(0, 2)])], unit=name, note=name)
    assert '<img' not in html and html.count('<script') == 1 and html.count('</script') == 1
    assert drawing(html).attrib['aria-label'] == name


def test_labels_at_the_ends_do_not_overlap_and_stay_inside():
    lines = [Line(f'line {i}', [(0, 0.0), (1, 1 + i * 1e-3)]) for i in range(12)]
    labels = [text for text in drawing(line_chart('t', lines)).iter('text') if 'class' in text.attrib]
    heights = sorted(float(text.attrib['y']) for text in labels)
    assert len(heights) == 12 and np.diff(heights).min() >= 11.9 and heights[-1] <= 240 and heights[0] >= 0
