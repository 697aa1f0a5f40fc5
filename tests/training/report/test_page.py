"""The report of runs made by hand: what it says, what it leaves out, that nothing in a run can break it or run in it."""

import base64
import html.parser
import io
import json
import math
import os
import re
import subprocess

import pytest
from click.testing import CliRunner
from PIL import Image

from tests.support.run_directories import OPTIONS, metric_line, stat, stats_line, write_lines, write_picture, write_run
from training.report import images as report_images
from training.report.__main__ import main
from training.report.curves import class_series, diversity_lines, metric_series
from training.report.images import read_picture
from training.report.page import run_labels, write_comparison, write_report
from training.run.run_history import read_history, series_of

HOSTILE = '</script></style><script>alert(1)</script><img src="http://example.com/x" onerror=alert(1)>"\'&'
VOID = {'meta', 'img', 'input', 'br', 'link'}


class Elements(html.parser.HTMLParser):
    """All elements and the text between, with a check that tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.found, self.text = [], [], ''
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('script', 'style'):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def report_of(run_dir) -> Elements:
    return Elements(write_report(run_dir).read_text(encoding='utf-8'))


def run_cli(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def run(tmp_path):
    """A conditional run that is done."""
    lines = [stats_line(k, Diversity__cat=1 - k / 4000, Diversity__dog=0.9, Diversity__min=0.5, Loss__scores__real=0.7)
             for k in range(0, 2001, 100)]
    record = dict(command='train_hyper.py', options=dict(selfinit='distill', seed=3), data=dict(num_images=500))
    metrics = {'kid_per_class': [metric_line('kid_per_class', k, kid_per_class=0.1, kid_per_class__cat=0.25, confusion=[[1]],
                                             warnings=['trust KID']) for k in (200, 400)]}
    path = write_run(tmp_path / '00003-animals', lines=lines, kimgs=(400, 200), log='Note:   500 images\ntick 0\nDone: here\n',
                     record=record, metrics=metrics)
    (path / 'selfinit.json').write_text(json.dumps(dict(method='distill', curve=[[0, 0.7], [1000, 0.1], [2000, 0.05]])))
    return path


def test_what_the_page_says(run):
    page = report_of(run)
    for words in ('00003-animals', 'train_hyper.py', 'done', '2,000 of 2,000', 'lowest diversity of a class (cat)', 'Losses',
                  'Diversity of classes', 'Discriminator scores', 'kid_per_class', 'Note: 500 images',
                  'Warning: kid_per_class: trust KID', 'Self-initialisation', 'G_opt_kwargs.lr', 'kid_per_class by class'):
        assert words in page.text, words
    assert '10.5' in page.text  # minutes: 21 ticks of 30 seconds
    assert [image['alt'] for image in page.all('img')] == ['start', '200 thousand images', '400 thousand images', 'Real images']
    assert ['hidden' in image for image in page.all('img')] == [True, True, False, False]


def test_page_needs_no_network_and_no_other_file(run):
    text = write_report(run).read_text(encoding='utf-8')
    page = Elements(text)
    assert not page.all('link') and not page.all('iframe') and '@import' not in text and 'url(' not in text
    for _, attributes in page.found:
        for name in ('src', 'href', 'srcset', 'xlink:href'):
            assert attributes.get(name, 'data:').startswith('data:')
    assert any("default-src 'none'" in (meta.get('content') or '') for meta in page.all('meta'))


def test_pictures_are_coded_once(run, monkeypatch):
    first = report_of(run).all('img')
    monkeypatch.setattr(report_images, 'usable_formats', lambda: pytest.fail('read again'))
    assert report_of(run).all('img') == first
    write_picture(run / 'fakes000400.png', level=9)
    os.utime(run / 'fakes000400.png', ns=(1, 1))
    with pytest.raises(pytest.fail.Exception):
        write_report(run)


def test_real_images_show_before_there_are_generated_ones(tmp_path):
    path = write_run(tmp_path / 'run')
    write_picture(path / 'reals.png')
    for generated in path.glob('fakes*.png'):
        generated.unlink()
    assert [image['alt'] for image in report_of(path).all('img')] == ['Real images']


@pytest.mark.parametrize('content', [b'', b'{"Progress/ki', b'\xff\xfe\x00', b'[1]\nnull\n', b'[' * 100000])
def test_damaged_lines_are_left_out_and_said(tmp_path, content):
    path = write_run(tmp_path / 'run', lines=[stats_line(1), stats_line(2)])
    with open(path / 'stats.jsonl', 'ab') as file:
        file.write(content)
    page = report_of(path)
    assert '2 of 2,000' in page.text
    assert ('could not be read' in page.text) == bool(content.strip())


def test_damaged_side_files_are_said(run):
    (run / 'run.json').write_text('{"command"')
    (run / 'selfinit.json').write_bytes(b'\xff')
    (run / 'transfer.json').write_text('[]')
    (run / 'fakes000200.png').write_bytes((run / 'fakes000200.png').read_bytes()[:200])
    (run / 'reals.png').write_bytes(b'')
    page = report_of(run)
    for name in ('run.json', 'selfinit.json', 'transfer.json', 'fakes000200.png', 'reals.png'):
        assert re.search(f'{name} could not be read', page.text), name
    assert [image['alt'] for image in page.all('img')] == ['start', '400 thousand images']


def test_nothing_in_a_run_becomes_markup(tmp_path):
    name = HOSTILE.replace('/', '|')
    lines = [{**stats_line(k), f'Diversity/{HOSTILE}': stat(0.5), f'Own/{HOSTILE}': stat(k), 'Diversity/\ud800': stat(1)}
             for k in (1, 2)]
    metrics = {'x': [metric_line(HOSTILE, 1, **{HOSTILE: 1.0, f'{HOSTILE}__{HOSTILE}': 2.0, 'warnings': [HOSTILE]})]}
    path = write_run(tmp_path / name, options={**OPTIONS, HOSTILE: {HOSTILE: HOSTILE}}, lines=lines, kimgs=(1,),
                     log=f'Warning: {HOSTILE}\nStopped: {HOSTILE}', record=dict(command=HOSTILE, options={HOSTILE: '\ud800'}),
                     metrics=metrics)
    other = write_run(tmp_path / (name + '2'), lines=lines)
    for page in (report_of(path), Elements(write_comparison([path, other], tmp_path / 'both.html').read_text())):
        assert HOSTILE in page.text
        assert all(image['src'].startswith('data:') and 'onerror' not in image for image in page.all('img'))
        scripts = [attributes.get('type') for attributes in page.all('script')]
        assert scripts == ['application/json'] * len(page.all('figure') if not page.all('img') else
                                                     [f for f in page.all('figure') if f.get('class') == 'chart']) + [None]


def test_seen_again_images_replace_what_stood_there():
    lines = [stats_line(k, Loss__x=k) for k in (1, 2, 3, 4)] + [stats_line(k, Loss__x=-k) for k in (3, 4, 5)]
    assert series_of(lines)['Loss/x'] == [(1, 1), (2, 2), (3, -3), (4, -4), (5, -5)]


def test_no_report_is_left_out_and_no_finite_mean_is_nan():
    lines = [stats_line(1, Loss__x=2.0), stats_line(2, Loss__x=stat(None, 0)), stats_line(3, Loss__x=stat(None, 8)),
             stats_line(4, Loss__x=stat(math.inf)), stats_line(5, Loss__x=stat('1')), stats_line(6, Loss__x=True)]
    series = series_of(lines)['Loss/x']
    assert [x for x, _ in series] == [1, 3, 4] and series[0][1] == 2 and math.isnan(series[1][1]) and math.isnan(series[2][1])


def test_state_of_a_run(tmp_path):
    lines = [stats_line(5)]
    ends = {'tick 3': 'not finished', 'Stopped: FloatingPointError: diverged': 'stopped', 'Done: x': 'done',
            'Stopped: KeyboardInterrupt\ntick 4': 'not finished'}
    for i, (log, words) in enumerate(ends.items()):
        page = report_of(write_run(tmp_path / str(i), lines=lines, log=log))
        assert f'{words}State' in page.text.replace('\n', '')
    assert 'FloatingPointError: diverged' in report_of(tmp_path / '1').text


def test_left_out_frames_are_said(tmp_path):
    page = report_of(write_run(tmp_path / 'run', kimgs=range(1, 60), size=(16, 16)))
    shown = len(page.all('img')) - 1
    assert 12 <= shown <= 24 and f'{shown} of 60 pictures are on this page' in page.text


@pytest.mark.parametrize('size, expected', [((100, 8192), (50, 4096)), ((30, 20), (30, 20))])
def test_large_pictures_are_made_smaller(tmp_path, size, expected):
    write_picture(tmp_path / 'a.png', size)
    with Image.open(io.BytesIO(base64.b64decode(read_picture(tmp_path / 'a.png', 'a', 0).source.partition(',')[2]))) as picture:
        assert picture.size == expected


def test_many_classes_are_summed_up(tmp_path):
    names = [f'class{i:03d}' for i in range(100)]
    lines = [{**stats_line(k), 'Diversity/mean': stat(9.0), **{f'Diversity/{name}': stat((i + 1) / k)
              for i, name in enumerate(names)}} for k in (1, 2)]
    run = read_history(write_run(tmp_path / 'run', lines=lines))
    found = {line.name: line.points for line in diversity_lines(run)}
    assert list(found) == ['lowest', 'median', 'class000', 'class001', 'class002', 'class003']
    assert found['lowest'] == [(1, 1), (2, 0.5)] and found['median'] == [(1, 50.5), (2, 25.25)]
    assert len(class_series(run)) == 100
    assert 'class099' not in report_of(run.path).text


def test_classes_with_numbers_for_names(tmp_path):
    lines = [stats_line(k, Diversity__7=0.5, Diversity__cat=0.9) for k in (1, 2)]
    assert list(class_series(read_history(write_run(tmp_path / 'run', lines=lines)))) == ['class 7', 'cat']


def test_quiet_charts_are_left_out(tmp_path):
    lines = [stats_line(k, Gradients__nonfinite__Gmain=0, Progress__augment=0) for k in (1, 2)]
    path = write_run(tmp_path / 'run', lines=lines)
    assert 'Non-finite' not in report_of(path).text and 'Augmentation probability' not in report_of(path).text
    lines = [stats_line(k, Gradients__nonfinite__Gmain=k, Gradients__nonfinite__Dreg=0) for k in (1, 2)]
    write_lines(path / 'stats.jsonl', lines)
    text = report_of(path).text
    assert 'Non-finite gradients' in text and 'Gmain' in text and 'Dreg' not in text


def test_metrics_over_snapshots(tmp_path):
    lines = [metric_line('fid', 400, fid=3.0), metric_line('fid', 200, fid=5.0), metric_line('fid', 400, fid=2.0),
             dict(results=dict(fid=1.0), metric='fid', snapshot_pkl=None), dict(results=dict(fid=None)), dict(results=3), [], 7]
    run = read_history(write_run(tmp_path / 'run', metrics={'fid': lines}))
    assert metric_series(run, 'fid') == [(200, 5), (400, 2)]
    text = report_of(run.path).text
    assert 'not named' in text and re.search(r'Thousand images\s*fid\s*not named1\s*4002\s*2005', text)


def test_comparison(run, tmp_path):
    other = write_run(tmp_path / '00004-animals', options={**OPTIONS, 'batch_size': 32}, lines=[stats_line(5)], kimgs=(5,))
    out = write_comparison([run, other], tmp_path / 'both.html')
    page = Elements(out.read_text(encoding='utf-8'))
    assert 'Options that differ' in page.text and 'batch_size1632' in page.text and 'random_seed' not in page.text
    assert 'Losses: G' in page.text and '00003' in page.text and '00004' in page.text
    steps = json.loads(next(tag for tag in page.all('input') if tag['type'] == 'range')['data-kimg'])
    assert steps == [0, 5, 200, 400]


@pytest.mark.parametrize('paths, labels', [
    (['r/00001-a-b', 'r/00002-a-b'], ['00001', '00002']), (['x/00000-a', 'y/00000-a'], ['x', 'y']),
    (['x/00000-a', 'y/00000-b'], ['00000-a', '00000-b']), (['p/x/00000', 'q/x/00000'], ['p', 'q']),
])
def test_labels_of_runs(tmp_path, paths, labels):
    assert run_labels([tmp_path / path for path in paths]) == labels


def test_labels_that_no_single_part_tells_are_paths(tmp_path):
    paths = [tmp_path / name for name in ('a/b', 'a/c', 'd/b')]
    assert run_labels(paths) == [str(path.resolve()) for path in paths]


def test_command(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_cli(run)
    assert (result.exit_code, result.output) == (0, f'Written: {run}/report.html\n')
    other = write_run(tmp_path / 'other')
    assert run_cli(run, other).output == 'Written: report.html\n' and (tmp_path / 'report.html').is_file()
    assert run_cli(run, '--out', 'one.html').exit_code == 0 and (tmp_path / 'one.html').is_file()


@pytest.mark.parametrize('args, message', [
    ([], 'RUNDIR is missing'), (['none'], 'none: no such directory'), (['empty'], 'empty has no training_options.json'),
    (['run', 'empty'], 'empty has no training_options.json'), (['run', 'run'], 'run is given twice'),
    (['run', '--out', 'empty'], '--out=empty is a directory'), (['run', '--out', 'no/such/x.html'], 'no/such/'),
    (['file'], 'file: no such directory'), (['damaged'], 'damaged/training_options.json'),
    (['list'], 'list/training_options.json'),
])
def test_wrong_input_is_one_line_with_exit_code_2(tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    for name, options in dict(run='{}', damaged='{', list='[]').items():
        (tmp_path / name).mkdir()
        (tmp_path / name / 'training_options.json').write_text(options)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('')
    result = run_cli(*args)
    assert result.exit_code == 2 and message in result.output and len(result.output.splitlines()) == 1
    assert not list(tmp_path.rglob('*.html'))


ODD = {'huge': '1' + '0' * 400, 'digits': '9' * 6000, 'nan': 'NaN', 'inf': '-Infinity', 'large': '1e308', 'tiny': '5e-324',
       'null': 'null', 'text': '"\\u0000\\ud800"', 'deep': '[' * 100_000, 'nested': '[' * 940 + ']' * 940,
       'objects': '{"a":' * 940 + '1' + '}' * 940, 'list': '[1,[2]]', 'true': 'true', 'negative': '-1'}
PLACES = {
    'run.json': ['$', '{"command":$,"options":{"kimg":$,"selfinit":$},"data":{"x":$}}', '{"options":$,"data":$}'],
    'transfer.json': ['$', '{"options":{"a":$}}'],
    'selfinit.json': ['{"curve":$}', '{"curve":[[0,1],[1000,$],[$,3],[2000,1]]}'],
    'metric-x.jsonl': [
        '$', '{"results":{"x":$,"x/a":$},"metric":$,"snapshot_pkl":$}', '{"results":{"x":1,"warnings":$}}',
        '{"results":{"x":1},"snapshot_pkl":"network-' + '9' * 400 + '.pkl"}\n{"results":{"x":$},"snapshot_pkl":"n1.pkl"}'],
    'stats.jsonl': [
        '$', '{"Progress/kimg":{"num":1,"mean":$},"x":{"num":1,"mean":1}}', '{"Progress/kimg":{"num":1,"mean":1},"x":$}',
        '\n'.join(f'{{"Progress/kimg":{{"num":1,"mean":{kimg}}},"x":{{"num":$,"mean":2}},"Timing/sec_per_tick":{{"num":1,"mean":$}},'
                  '"Diversity/cat":{"num":1,"mean":$},"Loss/G/loss":{"num":1,"mean":$}}' for kimg in range(4))],
    'log.txt': ['$\nNote: $'],
}


@pytest.mark.parametrize('odd', ODD)
def test_no_odd_value_breaks_the_page(tmp_path, odd):
    """In files that a report does without, all of them at a time."""
    for number in range(max(map(len, PLACES.values()))):
        run_dir = write_run(tmp_path / f'{number:05d}-x')
        for name, contents in PLACES.items():
            (run_dir / name).write_text(contents[number % len(contents)].replace('$', ODD[odd]))
        report_of(run_dir)


def test_a_failed_write_leaves_the_former_page(run, monkeypatch):
    page = write_report(run)
    before = page.read_bytes()

    def fail(*args):
        raise OSError(28, 'No space left on device', str(page))

    monkeypatch.setattr(os, 'replace', fail)
    assert run_cli(run).exit_code == 1
    assert page.read_bytes() == before and not list(run.glob('.report*'))


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_pictures_start_no_program_and_wait_for_no_pipe(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, 'Popen', lambda *args, **kwargs: pytest.fail('a program was started'))
    (tmp_path / 'a.png').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n')
    os.mkfifo(tmp_path / 'b.png')
    for name in ('a.png', 'b.png'):
        with pytest.raises(ValueError, match='could not be read'):
            read_picture(tmp_path / name, name, 0)
