"""A real training on a real disk that is full for a while: it goes on, and in the end nothing is missing."""

import json
import os
import signal

import pytest

import legacy
import train
from tests.support.commands import COMMAND, invoke, only_run
from tests.support.small_disk import fill_disk, small_disk
from tests.whole_runs.test_exact_resume import assert_same_end
from training import training_loop
from training.loop.training_state import find_state, read_state

# 50 batches, five to a tick but for the first, which has one; a snapshot every other tick.
ARGS = ['--cond=1', '--kimg=0.2', '--tick=0.02', '--snap=2', '--keep-snapshots=1', *COMMAND]
NUM_TICKS = 11


def images_saved(run_dir):
    return read_state(find_state(run_dir))['images_done']


@pytest.fixture
def at_batch(monkeypatch):
    """at_batch({number: function}): what happens within these batches of a training."""
    def plan(events):
        number, update = 0, training_loop.update_ema

        def counted(*args):
            nonlocal number
            number += 1
            events.pop(number, lambda: None)()
            update(*args)

        monkeypatch.setattr(training_loop, 'update_ema', counted)
    return plan


def test_a_full_disk_stops_nothing(tmp_path, rgb_zip, at_batch):
    """Snapshots fail, the last good state stays, training goes on, and everything is written once there is space."""
    assert invoke(train.main, '--outdir', tmp_path / 'whole', '--data', rgb_zip, *ARGS).exit_code == 0
    with small_disk(tmp_path / 'disk', kib=4096) as disk:
        def check_what_is_kept():
            assert images_saved(run_dir()) == 44 and not list(run_dir().glob('.*part*'))     # of tick 2
            snapshot, = run_dir().glob('network-snapshot-*.pkl')
            assert legacy.load_network_pkl(snapshot)['G_ema'] is not None
            (disk / 'filler').unlink()

        def run_dir():
            return next(disk.glob('0*'))

        events = {13: lambda: fill_disk(disk), 38: check_what_is_kept}
        at_batch(events)
        result = invoke(train.main, '--outdir', disk, '--data', rgb_zip, *ARGS)
        assert result.exit_code == 0 and not events, result.output
        assert_same_end(only_run(tmp_path / 'whole'), run_dir())
        stats = [json.loads(line) for line in (run_dir() / 'stats.jsonl').read_text().splitlines()]
        log = (run_dir() / 'log.txt').read_text().splitlines()
        left = {path.name for path in run_dir().iterdir()}
    assert [line['Progress/tick']['mean'] for line in stats] == list(range(NUM_TICKS))
    assert any('The disk of' in line and 'until there is space' in line for line in result.output.splitlines())
    assert any('MiB free). The last good state is' in line for line in log)
    on_screen, kept = ([line for line in lines if 'The disk of' not in line] for lines in (result.output.splitlines(), log))
    assert on_screen == kept    # every line came through, if late
    assert {'report.html', 'training-state-000000200.pt'} <= left and not any('.part' in name for name in left)


def test_a_last_state_that_finds_no_space(tmp_path, rgb_zip, at_batch):
    """Told to stop with a full disk: exit code 1, the way out in one line, and the last good state is there."""
    with small_disk(tmp_path / 'disk', kib=4096) as disk:
        at_batch({13: lambda: fill_disk(disk), 28: lambda: os.kill(os.getpid(), signal.SIGTERM)})
        result = invoke(train.main, '--outdir', disk, '--data', rgb_zip, *ARGS)
        run_dir = next(disk.glob('0*'))
        assert result.exit_code == 1 and f'--resume={run_dir}' in result.output.splitlines()[-1], result.output
        assert 'no space left to save the state' in result.output.splitlines()[-1]
        assert images_saved(run_dir) == 44
        (disk / 'filler').unlink()
        result = invoke(train.main, '--resume', run_dir, '--kimg=0.06')
        assert result.exit_code == 0 and images_saved(run_dir) == 60, result.output
