"""Charts of the report: numbers against hand values and plain loops, the drawing against the values that went in."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from training.report.charts import Line, line_chart, number, path_of, thin

NAN = math.nan


def drawing(html):
    return ElementTree.fromstring(re.search(r'<svg viewBox="0 0 420.*?</svg>', html, re.DOTALL)[0])


def values(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])


def drawn(line, x_axis, y_axis):
    """Strokes of a path: lists of points."""
    strokes = path_of(line, x_axis, y_axis).split('M')[1:]
    return [[tuple(map(float, point.split())) for point in stroke.removesuffix('h.01').split('L')] for stroke in strokes]


@pytest.mark.parametrize('num', [1001, 12345])
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


@pytest.mark.parametrize('value, expected', [
    (0, '0'), (1234.56, '1,235'), (12.3456, '12.35'), (0.000123456, '0.0001235'), (1e-7, '1e-07'), (2e12, '2e+12'),
    (NAN, 'not finite'),
])
def test_numbers_for_people(value, expected):
    assert number(value) == expected


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
