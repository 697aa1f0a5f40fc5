"""The transfer study with stand-ins for training and judging: what is run, kept, repeated, and shown."""
import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.transfer import __main__ as study
from benchmarks.transfer import page, tables, trained_run
from benchmarks.transfer import run_cell as cells
from benchmarks.transfer.judging import Judge, add_line, read_lines, unjudged
from benchmarks.transfer.methods import FIRST, METHODS
from benchmarks.transfer.pictures import side_by_side
from benchmarks.transfer.results import Column, at_time, minutes_until
from benchmarks.transfer.trained_run import Cell, finished_run, settings_of, train
from benchmarks.transfer.transfers import TRANSFERS, Files, Transfer, find_files

CELL = Cell('letters-digits', 'hyper', seed=3, kimg=8)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ('source.pkl', 'train.zip', 'test.zip')]
    for path in paths:
        path.write_text(path.name)
    return Files(*paths)


@pytest.fixture
def commands(monkeypatch):
    """Command lines that were run; each leaves what training leaves."""
    called = []

    def run_command(*command, log, threads):
        called.append(command)
        run = log.parent / '00000-digits'
        run.mkdir()
        (run / 'training-state.pt').write_text('large')
        start = 1e9
        ticks = [(0, start), (4.01, start + 60), (8, start + 180)]
        lines = [{'timestamp': time, **{name: {'mean': value} for name, value in (
            ('Progress/kimg', kimg), ('Timing/images_per_sec', 50 + kimg), ('Progress/augment', 0.0))}} for kimg, time in ticks]
        (run / 'stats.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
        for kimg in (0, 4, 8):
            (run / f'network-snapshot-{kimg:06d}.pkl').write_text('pickle')

    monkeypatch.setattr(trained_run, 'run_command', run_command)
    return called


def test_every_method_differs_from_the_others_in_its_options_alone(files):
    settings = {name: settings_of(Cell('letters-digits', name, 0, 8), files) for name in METHODS}
    assert len({tuple([found['command'], *found['options']]) for found in settings.values()}) == len(METHODS)
    assert all({'--batch=16', '--gamma=1', '--threads=1'} <= set(found['options']) for found in settings.values())
    assert ('--cbase=1024' in settings['scratch']['options']) and ('--cbase=1024' not in settings['splice']['options'])
    assert set(FIRST) <= set(METHODS)


def test_a_run_is_trained_once_and_keeps_its_snapshots(tmp_path, files, commands):
    folder, settings = tmp_path / 'run', settings_of(CELL, files)
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'half').write_text('of a run that was cut off')
    record = train(folder, settings, files)
    assert commands == [('train_hyper.py', f'--outdir={folder}', f'--data={files.train}', f'--resume={files.source}', '--kimg=8',
                         '--seed=3', *settings['options'], '--tick=2', '--snap=1')]
    assert [(snapshot['kimg'], snapshot['images_per_sec']) for snapshot in record['snapshots']] == [(0, 50), (4, 54.01), (8, 58)]
    minutes = [snapshot['minutes'] for snapshot in record['snapshots']]
    assert (minutes[1] - minutes[0], minutes[2] - minutes[1]) == (pytest.approx(1), pytest.approx(2))
    assert sorted(path.name for path in folder.rglob('*') if path.is_file()) == [
        'network-snapshot-000000.pkl', 'network-snapshot-000004.pkl', 'network-snapshot-000008.pkl', 'run.json', 'stats.jsonl']
    assert finished_run(folder, settings) == record
    assert finished_run(folder, {**settings, 'seed': 4}) is None


def test_cpu_time_is_that_of_children(monkeypatch):
    monkeypatch.setattr(trained_run, 'SAMPLE_SEC', 0.05)
    spin = 'import time\nwhile time.process_time() < {}: pass\ntime.sleep(0.2)'
    with trained_run.sampled_cpu() as samples:
        for seconds in (0.6, 0.1):  # a second, shorter process does not take back what the first one spent
            subprocess.run([sys.executable, '-c', spin.format(seconds)], check=True)
    times, spent = zip(*samples, strict=True)
    assert sorted(times) == list(times) and sorted(spent) == list(spent) and spent[0] == 0
    assert 0.58 < spent[-1] < 0.9  # counted in hundredths


def test_what_starts_from_scratch_has_no_source(tmp_path, files, commands):
    train(tmp_path / 'run', settings_of(Cell('letters-digits', 'scratch', 0, 8), files), files)
    assert commands[0][0] == 'train.py' and not any(word.startswith('--resume') for word in commands[0])


def test_judging_is_apart_from_training(tmp_path, files, commands, monkeypatch):
    """Each snapshot but the first has a line for each judge; what has one is not judged again."""
    judged = []
    monkeypatch.setattr(Judge, 'facts', lambda self: dict(num_gen=self.num_gen))

    def judged_line(folder, record, snapshot, judge, files):
        judged.append((snapshot['kimg'], judge.num_gen))
        return dict(settings=record['settings'], judge=judge.facts(), kimg=snapshot['kimg'])

    monkeypatch.setattr(cells, 'judged_line', judged_line)
    call = (tmp_path / 'run', settings_of(CELL, files), files)
    results = tmp_path / 'results' / 'results.jsonl'
    assert cells.run_cell(*call, Judge(), results, 'judge') == 'has not ended yet' and not commands
    assert cells.run_cell(*call, Judge(), results, 'train').startswith('trained in') and not judged
    assert cells.run_cell(*call, Judge(), results) == '2 snapshots judged'
    assert cells.run_cell(*call, Judge(), results) == '0 snapshots judged'
    assert cells.run_cell(*call, Judge(num_gen=9), results, last=True) == '1 snapshots judged'
    assert cells.run_cell(*call, Judge(num_gen=9), results, 'judge') == '1 snapshots judged'
    assert judged == [(8, 200), (4, 200), (8, 9), (4, 9)] and len(commands) == 1 and len(read_lines(results)) == 4


def test_lines_of_other_settings_do_not_count():
    record = dict(settings=dict(seed=0), snapshots=[dict(kimg=0), dict(kimg=4)])
    lines = [dict(settings=dict(seed=1), judge={}, kimg=4)]
    assert unjudged(record, {}, lines) == [dict(kimg=4)]
    assert unjudged(record, {}, [dict(lines[0], settings=dict(seed=0))]) == []


def test_missing_files_are_named_and_left_out(tmp_path, capsys):
    assert study.found_transfers(['omniglot-fashion'], tmp_path, tmp_path) == {}
    assert f'omniglot-fashion is left out: pickles/omniglot32.pkl is not in the repository, {tmp_path}' in (
        capsys.readouterr().err)
    (tmp_path / 'a').write_text('')
    assert find_files(Transfer('a', 'a', 'a'), tmp_path, tmp_path).test == tmp_path / 'a'


@pytest.mark.parametrize('option, words', [('--methods=hyper,splise', 'splise: expected all, or names of hyper'),
                                           ('--transfers=x', 'x: expected all'), ('--seeds=1,-2', 'expected whole numbers')])
def test_wrong_names_are_refused(option, words):
    found = CliRunner().invoke(study.main, [option])
    assert found.exit_code == 2 and words in found.output


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_others(tmp_path, files, capsys):
    """In processes of their own: the first has no source to start from."""
    call = (tmp_path / 'run', settings_of(CELL, files), files, Judge(), tmp_path / 'results.jsonl', 'train')
    with pytest.raises(click.ClickException, match='1 of 2 runs failed; the same command tries them again'):
        study.run_all([call, (*call[:5], 'judge')], 1)
    said = capsys.readouterr().err
    assert 'train_hyper.py failed with exit code 2' in said and 'has not ended yet' in said


# tables


def line(method, seed, kimg, minutes, value, transfer='letters-digits', end=8):
    names = [column.name for column in tables.COLUMNS if column.curve or kimg == end]
    return dict(settings=dict(transfer=transfer, method=method, seed=seed, kimg=end), kimg=kimg, cpu_minutes=minutes,
                judge=dict(detector='net 128px', num_gen=200),
                values={name: value for name in names} | {f'{name}_reference': 0.9 for name in names})


LINES = [line('splice', 0, 4, 1.0, 0.2), line('splice', 0, 8, 2.0, 0.4), line('hyper', 0, 4, 2.0, 0.1),
         line('hyper', 0, 8, 4.0, 0.7), line('hyper', 1, 4, 1.0, 0.3), line('hyper', 1, 8, 3.0, 0.5)]


def test_numbers_at_a_time_lie_between_those_of_snapshots():
    hyper = [found for found in LINES if found['settings']['method'] == 'hyper']
    assert at_time(hyper, 3.0)['spread'] == [pytest.approx(0.4), pytest.approx(0.5)]
    assert at_time(hyper, 3.5)['spread'] == [pytest.approx(0.55)] and at_time(hyper, 0.5) == {}


def test_minutes_until_a_goal_lie_between_those_of_snapshots():
    rising, falling = Column('', 'spread', ''), Column('', 'spread', '', falls=True)
    run = [line('hyper', 0, 4, 2.0, 0.1), line('hyper', 0, 8, 4.0, 0.7)]
    assert minutes_until(run, rising, 0.4) == [pytest.approx(3.0)]
    assert minutes_until([line('hyper', 0, 4, 2.0, 0.7), line('hyper', 0, 8, 4.0, 0.1)], falling, 0.25) == [pytest.approx(3.5)]
    assert minutes_until(run, rising, 0.05) == []  # before the first snapshot
    assert minutes_until(run, rising, 0.8) == []  # not reached
    slow = [line('hyper', 1, 4, 4.0, 0.0), line('hyper', 1, 8, 8.0, 0.4)]
    assert minutes_until([*run, *slow], rising, 0.4) == [pytest.approx(3.0), pytest.approx(8.0)]
    assert minutes_until([*run, *slow], rising, 0.5) == []  # one of two


def test_tables_show_mean_and_range(tmp_path):
    other_length = line('hyper', 0, 16, 1.5, 0.8, end=16)
    for found in [dict(LINES[0], judge=dict(detector='other', num_gen=1), values={}), other_length, *LINES]:
        add_line(tmp_path / 'results.jsonl', found)
    done = CliRunner().invoke(tables.main, [f'--outdir={tmp_path}', f'--workdir={tmp_path}'], catch_exceptions=False)
    text = (tmp_path / 'results.md').read_text()
    assert text in done.output and '`net 128px`' in text
    rows = [[cell.strip() for cell in row.strip('|').split('|')] for row in text.splitlines() if row.startswith('| ')]
    end, _splice, real, head, at_two, _, goals, until, _ = rows[1:10]
    assert end[:2] == ['hyper', '0.600 (0.500 to 0.700)'] and end[-1] == '2' and end[-3] == '3.5 (3.0 to 4.0)'
    assert real[:2] == ['*real images*', '0.900']
    assert head[0] == 'method, after 2.0 minutes' and at_two[1] == '0.250 (0.100 to 0.400)'
    assert goals[:2] == ['method, minutes until', 'KID 0.400'] and until[:2] == ['hyper', '-']
    assert goals[3] == 'spread 0.40' and until[3] == '2.5 (2.0 to 3.0)'
    assert text.index('letters-digits, 8,000 images') < text.index('letters-digits, 16,000 images')
    assert rows[11][:2] == ['hyper', '0.800'] and rows[11][-1] == '1'
    with Image.open(tmp_path / 'curves-letters-digits-8k.png') as picture:
        assert len(picture.convert('RGB').getcolors(2**20)) > 10
    assert not (tmp_path / 'grid-letters-digits-8k.png').exists()


def test_the_page_shows_the_committed_results():
    text = page.PAGE.read_text()
    assert page.filled(text, read_lines(page.RESULTS)) == text, 'python -m benchmarks.transfer.page fills it'


def test_the_page_compares_what_both_methods_learnt():
    ours, copying = ([line(method, 0, 16, 2.0, value, 'omniglot-digits', 16)]
                     for method, value in (('hyper', 0.3), ('splice', 0.2)))
    alone = [line('hyper', 0, 8, 2.0, 0.5, 'omniglot-digits'), line('hyper', 0, 8, 2.0, 0.6)]
    rows = page.transfers_table([*alone, *copying, *ours]).splitlines()
    assert len(rows) == 5 and [cells.split(' | ')[1] for cells in rows[2:]] == ['0.300', '0.200', '0.900']
    assert [cells.split(' | ')[:2] for cells in page.parts_table([*alone, *ours]).splitlines()[2:]] == [['| default', '0.300']]


def test_pictures_stand_side_by_side(tmp_path):
    for method, level in (('hyper', 50), ('splice', 100)):
        folder = Cell('letters-digits', method, 0, 8).folder(tmp_path)
        folder.mkdir(parents=True)
        Image.new('L', (30, 40), level).save(folder / 'grid.png')
    picture = side_by_side(tmp_path, {'hyper': [LINES[2]], 'splice': [LINES[0]]})
    assert picture.size == (76, 60)
    assert [picture.getpixel((left, 50)) for left in (10, 34, 48)] == [(50,) * 3, (255,) * 3, (100,) * 3]
    assert side_by_side(tmp_path, {'hyper': [LINES[2]], 'scratch': [line('scratch', 0, 8, 1, 0)]}) is None


def test_the_quick_form_names_what_there_is():
    assert set(study.QUICK['transfers']) <= set(TRANSFERS) and set(study.QUICK['methods']) <= set(METHODS)
