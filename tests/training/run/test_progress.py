"""training/run/progress.py: numbers of a tick, going on after a stop, a full disk, and what a terminal and the log show."""

import json
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import dnnlib
from tests.support.small_disk import fill_disk, small_disk
from tests.support.terminals import Terminal, lines_on_screen
from torch_utils import training_stats
from training.run import progress as progress_module
from training.run.progress import Progress, drop_later_stats

CPU = torch.device('cpu')


@pytest.fixture(autouse=True)
def fresh_stats(monkeypatch):
    """No names that other tests reported."""
    monkeypatch.setattr(training_stats, '_counters', {})


@pytest.fixture
def clock(monkeypatch):
    """clock.now is the time of durations, in seconds."""
    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress_module.time, 'monotonic', lambda: Clock.now)
    return Clock


def stats_lines(run_dir):
    return [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]


def run_ticks(progress, first, last, losses=None):
    """Ticks of 20 images, numbered from 0, first to last; the loss is the tick's number, or what `losses` says."""
    for tick in range(first, last):
        for _ in range(2):
            progress.advance(10)
            training_stats.report('Loss/G/loss', losses or [tick, tick])
        progress.end_tick(20 * (tick + 1), augment_p=0.25)


# --- a tick ---

def test_numbers_of_a_tick(tmp_path, clock, capsys):
    progress = Progress(tmp_path, 100, CPU)
    progress.advance(20)
    training_stats.report('Loss/G/loss', [1.0, 2.0, 6.0])
    training_stats.report('Loss/D/loss', [])
    clock.now += 4
    means = progress.end_tick(20, augment_p=0.25)
    clock.now += 2
    progress.advance(80)
    progress.end_tick(100, augment_p=0.5)
    progress.close()
    assert means['Loss/G/loss'] == 3 and math.isnan(means['Loss/D/loss'])
    first, second = stats_lines(tmp_path)
    assert first['Loss/G/loss'] == dict(num=3, mean=3, std=pytest.approx(math.sqrt(14 / 3)))
    assert first['Loss/D/loss'] == dict(num=0, mean=None, std=None)     # JSON knows no NaN
    for line, wanted in [(first, [0, 0.02, 0.25, 4, 200, 5, 4 / 3600]), (second, [1, 0.1, 0.5, 2, 25, 40, 6 / 3600])]:
        names = ['Progress/tick', 'Progress/kimg', 'Progress/augment', 'Timing/sec_per_tick', 'Timing/sec_per_kimg',
                 'Timing/images_per_sec', 'Timing/total_hours']
        np.testing.assert_allclose([line[name]['mean'] for name in names], wanted, rtol=1e-6)   # float32
    text = capsys.readouterr().out
    words = text.splitlines()[1].split()
    shown = dict(zip(words[::2], words[1::2], strict=False))
    wanted = {'tick': '1', 'kimg': '0.1', 'time': '6s', 'img/s': '40.0', 'sec/kimg': '25.00'}
    assert wanted.items() <= shown.items() and 'augment 0.500' in text and 'G 3.000' in text and 'D nan' not in text


def test_the_first_tick_is_one_batch(tmp_path):
    progress = Progress(tmp_path, 100, CPU)
    assert progress.tick_is_over(1, kimg_per_tick=4)
    progress.end_tick(10, 0)
    assert not progress.tick_is_over(4009, kimg_per_tick=4) and progress.tick_is_over(4010, kimg_per_tick=4)
    progress.close()


def test_other_processes_count_but_write_nothing(tmp_path, capsys):
    progress = Progress(tmp_path, 100, CPU, rank=1)
    progress.say('hello')
    run_ticks(progress, 0, 2)
    progress.images('fakes', tmp_path / 'absent.png')
    progress.close()
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().out == ''
    assert (progress.tick, progress.images_done, progress.collector['Loss/G/loss']) == (2, 40, 1)


# --- going on ---

def test_a_run_that_goes_on_reports_as_if_it_had_not_stopped(tmp_path, clock, monkeypatch):
    def steps(progress, numbers):
        for number in numbers:
            clock.now += 3
            progress.advance(10)
            training_stats.report('Loss/G/loss', number)
            if progress.tick_is_over(progress.images_done, kimg_per_tick=0.04):
                progress.end_tick(progress.images_done, 0)

    lines = {}
    for name, stop in [('whole', None), ('in a tick', 7), ('after a tick', 5), ('at once', 0)]:
        monkeypatch.setattr(training_stats, '_counters', {})
        run_dir = tmp_path / name
        run_dir.mkdir()
        progress = Progress(run_dir, 200, CPU)
        steps(progress, range(20 if stop is None else stop))
        if stop is not None:
            state = json.loads(json.dumps(progress.state_dict()))
            steps(progress, range(100, 113))    # what a killed run did after its last snapshot
            progress.close()
            monkeypatch.setattr(training_stats, '_counters', {})
            clock.now += 10_000
            progress = Progress(run_dir, 200, CPU, images_done=10 * stop)
            progress.load_state_dict(state)
            steps(progress, range(stop, 20))
        progress.close()
        lines[name] = [{key: value for key, value in line.items() if key.partition('/')[0] in ('Progress', 'Loss', 'Timing')}
                       for line in stats_lines(run_dir)]
    assert [line['Progress/tick']['mean'] for line in lines['whole']] == [0, 1, 2, 3, 4]
    for name, found in lines.items():
        assert found == lines['whole'], name    # whole numbers throughout, hence exactly


def test_lines_beyond_the_snapshot_are_dropped(tmp_path):
    path = tmp_path / 'stats.jsonl'
    drop_later_stats(path, 0)
    assert not path.exists()
    progress = Progress(tmp_path, 200, CPU)
    run_ticks(progress, 0, 5)
    progress.close()
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damage in (b'', lines[0][:-1], b'{"Progress/kimg": {"mea', b'[]\n', b'{}\n', b'\x00\x00\n', b'\xff\n'):
        for images, left in [(100, 5), (99, 4), (60, 3), (20, 1), (19, 0), (0, 0)]:
            path.write_bytes(whole + damage)
            drop_later_stats(path, images)
            assert path.read_bytes() == b''.join(lines[:left])
    assert list(tmp_path.glob('.*')) == []


@pytest.mark.parametrize('images', [16_777, 25_000_003])
def test_float32_does_not_drop_the_last_line(images, tmp_path):
    progress = Progress(tmp_path, 10**8, CPU)
    progress.end_tick(images, 0)
    progress.close()
    drop_later_stats(tmp_path / 'stats.jsonl', images - 20)
    assert stats_lines(tmp_path) == []
    progress = Progress(tmp_path, 10**8, CPU)
    progress.end_tick(images, 0)
    progress.close()
    drop_later_stats(tmp_path / 'stats.jsonl', images)
    assert len(stats_lines(tmp_path)) == 1


# --- a full disk ---

def test_a_full_disk_loses_no_numbers(tmp_path, capsys):
    with small_disk(tmp_path / 'disk', kib=256) as disk:
        progress = Progress(disk, 10**6, CPU)
        run_ticks(progress, 0, 2)
        filler = fill_disk(disk)
        run_ticks(progress, 2, 12)
        full = capsys.readouterr().out.splitlines()
        assert progress.stats_file.num_waiting > 0
        filler.unlink()
        run_ticks(progress, 12, 13)
        assert progress.stats_file.num_waiting == 0
        filler = fill_disk(disk)
        run_ticks(progress, 13, 20)
        filler.unlink()
        progress.close()
        assert [line['Loss/G/loss']['mean'] for line in stats_lines(disk)] == list(range(20))
    said = [line for line in full if not line.startswith('tick ')]
    assert len(full) - len(said) == 12 and 1 <= len(said) <= 2      # of stats.jsonl, and of TensorBoard where that is installed
    assert all(f'The disk of {disk} is full: the run continues' in line for line in said)


# --- TensorBoard ---

def test_a_failing_board_is_said_once_and_dropped(tmp_path, capsys, monkeypatch):
    class BadBoard:
        def __init__(self, *args):
            pass

        def add_scalars(self, *args):
            raise OSError(5, 'Input/output error', 'events')

    monkeypatch.setattr(progress_module, 'Board', BadBoard)
    progress = Progress(tmp_path, 100, CPU)
    run_ticks(progress, 0, 3)
    progress.images('fakes', tmp_path / 'absent.png')
    progress.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and sum('TensorBoard' in line and 'continues without' in line for line in lines) == 1
    assert len(stats_lines(tmp_path)) == 3


def test_without_tensorboard(tmp_path, monkeypatch):
    for name in ('tensorboard.compat.proto.event_pb2', 'torch.utils.tensorboard'):
        monkeypatch.setitem(sys.modules, name, None)        # importing it fails
    progress = Progress(tmp_path, 100, CPU)
    run_ticks(progress, 0, 1)
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    progress.images('fakes', tmp_path / 'a.png')
    progress.close()
    assert {path.name for path in tmp_path.iterdir()} == {'stats.jsonl', 'a.png'}


def test_pictures_and_numbers_on_the_board(tmp_path):
    accumulators = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator', reason='needs TensorBoard')
    progress = Progress(tmp_path, 100, CPU)
    run_ticks(progress, 0, 3)
    Image.new('RGB', (6, 4)).save(tmp_path / 'a.png')
    progress.images('fakes', tmp_path / 'a.png')
    progress.close()
    progress = Progress(tmp_path, 100, CPU, images_done=40)     # the third tick was lost, and goes otherwise now
    progress.tick = 2
    run_ticks(progress, 2, 3, losses=[7.0])
    progress.close()
    board = accumulators.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in board.Scalars('Loss/G/loss')] == [(20, 0), (40, 1), (60, 7)]
    assert board.Tags()['images'] == ['fakes'] and board.Images('fakes') == []      # it was of image 60


# --- console and log ---

@pytest.mark.parametrize('columns', [20, 80])
def test_bar_lines_and_log_on_a_terminal(columns, tmp_path, monkeypatch):
    terminal = Terminal(columns)
    for name in ('stdout', 'stderr', '__stderr__'):
        monkeypatch.setattr(sys, name, terminal.file)
    with dnnlib.util.Logger(str(tmp_path / 'log.txt')):
        progress = Progress(tmp_path, 100, CPU)
        progress.bar.mininterval = 0
        progress.say('a short line')
        run_ticks(progress, 0, 4)
        print('warning from elsewhere', file=sys.stderr)
        progress.say('x' * 150)
        progress.advance(10)
        progress.close()
    text = terminal.close()
    log = (tmp_path / 'log.txt').read_text()
    assert all(char.isprintable() or char == '\n' for char in log)
    lines = log.splitlines()
    assert [line[:6] for line in lines] == ['a shor', 'tick 0', 'tick 1', 'tick 2', 'tick 3', 'warnin', 'xxxxxx']
    shown = lines_on_screen(text, columns)
    bar, end = shown[-2:]
    assert bar.startswith(' 90%') and end == ''
    others = [line.rstrip() for line in lines if 'elsewhere' not in line]  # that one does not know the bar, and stands behind it
    assert [line for line in shown[:-2] if 'elsewhere' not in line] == others
