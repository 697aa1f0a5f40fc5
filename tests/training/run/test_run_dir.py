"""Run directories: numbers, records, which run goes on, which snapshots stay."""

import json
import os

import pytest

from training.run.run_dir import Run, find_run, make_run_dir, prune_snapshots, read_run, record_run

RECORD = dict(options=dict(kimg=1), data=dict(num_images=3))


def make_run(outdir, description='pets', command='train.py', time=None):
    run = Run(make_run_dir(outdir, description), command, **RECORD)
    record_run(run)
    if time is not None:
        os.utime(run.path / 'run.json', (time, time))
    return run


def test_run_directories_are_numbered(tmp_path):
    assert make_run_dir(tmp_path / 'runs', 'a b/c').name == '00000-a_b_c'
    (tmp_path / 'runs' / '00007-x').mkdir()
    assert make_run_dir(tmp_path / 'runs', 'pets').name == '00008-pets'
    (tmp_path / 'runs' / '00009-pets').write_text('a file, not a run')
    assert make_run_dir(tmp_path / 'runs', 'pets').name == '00010-pets'


def test_a_run_is_found_by_its_directory(tmp_path):
    run = make_run(tmp_path)
    for resume, outdir in ((str(run.path), 'elsewhere'), ('source.pkl', str(run.path)), (None, str(run.path))):
        assert find_run(resume, outdir, 'train.py') == run
    assert not run.has_begun
    (run.path / 'training_options.json').write_text('{"batch_size": 4}')
    assert run.has_begun


@pytest.mark.parametrize('resume', [None, 'source.pkl'])
def test_other_command_lines_start_a_run(tmp_path, resume):
    make_run(tmp_path)
    assert find_run(resume, str(tmp_path), 'train.py') is None
    assert find_run(resume, str(tmp_path / 'new'), 'train.py') is None


def test_latest_is_the_one_that_was_written_last_by_this_command(tmp_path):
    old, new = make_run(tmp_path / 'deep' / 'er', time=2000), make_run(tmp_path, time=1000)
    make_run(tmp_path, command='train_hyper.py', time=3000)
    assert find_run('latest', str(tmp_path), 'train.py') == old
    (new.path / 'training-state-000000008.pt').write_bytes(b'')
    (tmp_path / 'foreign').mkdir()
    (tmp_path / 'foreign' / 'run.json').write_text('[1]')
    assert find_run('latest', str(tmp_path), 'train.py') == new


def test_no_latest(tmp_path):
    with pytest.raises(ValueError, match=r'found no run of train.py under .*: give --outdir, or --resume=RUNDIR'):
        find_run('latest', str(tmp_path / 'missing'), 'train.py')
    make_run(tmp_path, command='train_hyper.py')
    with pytest.raises(ValueError, match='only 1 of other commands'):
        find_run('latest', str(tmp_path), 'train.py')


def test_a_run_of_another_command(tmp_path):
    run = make_run(tmp_path, command='train_hyper.py')
    with pytest.raises(ValueError, match=r'is a run of train_hyper\.py: continue it with python train_hyper.py --resume='):
        find_run(str(run.path), '', 'train.py')


def test_a_directory_that_is_no_run(tmp_path):
    with pytest.raises(ValueError, match=r'is a directory without run\.json'):
        find_run(str(tmp_path), '', 'train.py')


@pytest.mark.parametrize('content', ['', '{', '[]', '{"command": "train.py"}', json.dumps(dict(command=3, options={}, data={}))])
def test_a_damaged_record(tmp_path, content):
    (tmp_path / 'run.json').write_text(content)
    with pytest.raises(ValueError, match=r'run\.json') as caught:
        read_run(tmp_path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('keep, left', [(None, [0, 2, 10, 200]), (3, [2, 10, 200]), (9, [0, 2, 10, 200])])
def test_pruning_keeps_the_newest(tmp_path, keep, left):
    for kimg in (200, 0, 2, 10):
        (tmp_path / f'network-snapshot-{kimg:06d}.pkl').touch()
    (tmp_path / 'selfinit.pkl').touch()
    prune_snapshots(tmp_path, keep)
    assert sorted(path.name for path in tmp_path.glob('network-*')) == [f'network-snapshot-{kimg:06d}.pkl' for kimg in left]
    assert (tmp_path / 'selfinit.pkl').exists()
