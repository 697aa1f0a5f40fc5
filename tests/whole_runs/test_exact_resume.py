"""A run that was stopped, however and wherever, ends bit for bit as one that never stopped."""

import contextlib
import json
import math
import os
import random
import re
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch

import legacy
import train
import train_hyper
from commands.config import build_config
from commands.data_facts import inspect_data
from commands.options import TrainingOptions
from hyper_plugin import selfinit
from tests.support.commands import (
    COMMAND,
    finish,
    fork_command,
    invoke,
    only_run,
    start_command,
    ticks_told,
    wait_for,
    wait_for_line,
)
from tests.support.hyper_sources import make_hyper, make_source
from training import training_loop as loop_module
from training.loop.training_state import find_state, loss_tensors, read_state
from training.run.run_dir import read_json
from training.training_loop import training_loop

TINY = dict(z_dim=8, w_dim=8, map_depth=2, cbase=64, cmax=8, batch=4, mbstd_group=2, gamma=1.0, kimg=0.048, tick=0.02, snap=1)


def config_of(path, changes=None, **options):
    options = TrainingOptions(**(TINY | dict(data=str(path), cond=True) | options))
    config = build_config(options, inspect_data(options.data, options.cond))
    return replace(config, ada_kimg=0.02, G_reg_interval=3, **(changes or {}))


@contextlib.contextmanager
def stopping_within(monkeypatch, stops):
    """SIGTERM comes within the given optimiser steps, counted over all calls of the loop."""
    count, finish_phase, waiting = 0, loop_module.finish_phase, set(stops)

    def interrupted(phase):
        nonlocal count
        count += 1
        if count in waiting:
            waiting.discard(count)
            os.kill(os.getpid(), signal.SIGTERM)
        finish_phase(phase)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, 'finish_phase', interrupted)
        yield
    assert not waiting


def run_until_done(run_dir, config, monkeypatch, stops):
    """Call the loop until all images are done."""
    run_dir.mkdir()
    calls = 1
    with stopping_within(monkeypatch, stops):
        while not training_loop(run_dir, config):
            torch.rand(calls)  # a new process has random numbers of its own
            calls += 1
    assert calls == len(stops) + 1


def differences(a, b, name=''):
    """Where two training states differ; durations may."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in a if not re.match('tick_seconds|total_seconds|Timing/|Resources/', str(key))]
        found = [text for key in keys for text in differences(a[key], b.get(key), f'{name}.{key}')]
        return found + ([name] if a.keys() != b.keys() else [])
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [text for i, (x, y) in enumerate(zip(a, b, strict=True)) for text in differences(x, y, f'{name}[{i}]')]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num()) else [name]
    if isinstance(a, float) and isinstance(b, float) and 'collector' in name:  # sums of a tick, gathered in other portions
        return [] if math.isclose(a, b, rel_tol=1e-12) else [name]
    return [] if type(a) is type(b) and a == b else [name]


def stats_of(run_dir):
    lines = [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
    kinds = ('Loss/', 'Progress/', 'Diversity/')
    # The others were told by another run in this process.
    return [{name: value for name, value in line.items() if name.startswith(kinds) and value['num'] > 0} for line in lines]


def assert_same_end(one, other):
    """Both runs ended in the same state, and told the same on the way."""
    states = [read_state(find_state(run_dir)) for run_dir in (one, other)]
    assert differences(*states) == []
    assert [line['Progress/kimg'] for line in stats_of(one)] == [line['Progress/kimg'] for line in stats_of(other)]
    for ours, theirs in zip(stats_of(one), stats_of(other), strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name]['mean'] == pytest.approx(theirs[name]['mean'], rel=1e-6), name
    snapshots = [legacy.load_network_pkl(max(run_dir.glob('network-snapshot-*.pkl'))) for run_dir in (one, other)]
    for name in ('G', 'D', 'G_ema', 'augment_pipe'):
        if snapshots[0][name] is not None:
            assert differences(dict(snapshots[0][name].state_dict()), dict(snapshots[1][name].state_dict())) == []


# 12 batches of 4 from 12 to 36 images: several epochs. Phases of a batch: Gmain, every third Greg, Dmain, at first Dreg.
@pytest.mark.parametrize('options', [
    dict(),
    dict(batch_gpu=2, mirror=False, freezed=1),
    dict(workers=2, cond_ramp='0.01,0.03'),
    dict(aug='noaug', cond=False, pl_weight=0.0),
], ids=['ada', 'passes', 'workers-ramp', 'plain'])
def test_stopping_changes_nothing(tmp_path, rgb_zip, monkeypatch, options):
    config = config_of(rgb_zip, **options)
    run_until_done(tmp_path / 'whole', config, monkeypatch, [])
    run_until_done(tmp_path / 'parts', config, monkeypatch, [1, 9, 14, 25])
    assert_same_end(tmp_path / 'whole', tmp_path / 'parts')
    assert len(list((tmp_path / 'parts').glob('training-state-*.pt'))) == 1


def test_the_test_would_see_a_lost_state(tmp_path, rgb_zip, monkeypatch):
    """Leaving out any part of the state shows at the end."""
    from training.loop.training_state import TrainingState
    config, load = config_of(rgb_zip, dict(ada_interval=6)), TrainingState.load_state_dict
    run_until_done(tmp_path / 'whole', config, monkeypatch, [])
    whole, stopped = read_state(find_state(tmp_path / 'whole')), tmp_path / 'stopped'
    with stopping_within(monkeypatch, [22]):  # in the ninth batch
        stopped.mkdir()
        assert not training_loop(stopped, config)
    for part in ('optimizers', 'loss', 'augment_p', 'random', 'real_signs', 'alarm', 'progress'):
        def forgetful(self, saved, rank, part=part):
            kept = dict(optimizers={name: opt.state_dict() for name, opt in self._optimizers().items()},
                        loss=loss_tensors(self.loss), augment_p=0.0, random=[], real_signs=self.real_signs.state_dict(),
                        alarm=self.alarm.state_dict(), progress=self.progress.state_dict())
            load(self, saved | {part: kept[part]}, rank)
        monkeypatch.setattr(TrainingState, 'load_state_dict', forgetful)
        shutil.copytree(stopped, tmp_path / part)
        assert training_loop(tmp_path / part, config)
        assert differences(whole, read_state(find_state(tmp_path / part))), part


def test_state_of_another_version(tmp_path):
    path = tmp_path / 'training-state-000000048.pt'
    torch.save(dict(format=99), path)
    with pytest.raises(ValueError, match='format 99'):
        read_state(path)


# --- self-initialisation ---

def test_distillation_goes_on_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(selfinit, 'EVALUATION_IMAGES', 32)
    monkeypatch.setattr(selfinit, 'PATIENCE', 1)  # so that the rate is halved on the way

    def start():
        torch.manual_seed(0)
        source = make_source(resolution=8)
        return source, make_hyper(source)

    def distill(source, G, **kwargs):
        generator = torch.Generator().manual_seed(0)
        return selfinit.distill(source, G, torch.device('cpu'), kimg=3, generator=generator, rate=0.05, **kwargs)

    source, whole = start()
    want = distill(source, whole)
    saved, batches, stops = None, -1, [0, 3, 63, 64, 130]
    path = tmp_path / 'state.pt'

    def stop():
        nonlocal batches
        batches += 1
        return batches in stops

    for _ in [*stops, 'the end']:
        source, parts = start()
        got = distill(source, parts, saved=saved, save=lambda state: torch.save(state, path), stop=stop)
        saved = torch.load(path, weights_only=True)
    assert got == want and saved['optimizer']['param_groups'][0]['lr'] < 0.05
    assert differences(dict(whole.state_dict()), dict(parts.state_dict())) == []


# --- commands that are really killed ---

def train_here(*args, main=train.main):
    """The command in this process; returns what it prints."""
    result = invoke(main, *args)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_command_that_is_told_to_stop_saves_and_goes_on(tmp_path, rgb_zip):
    args = ['--data', rgb_zip, '--cond=1', '--tick=0.012', '--snap=50', '--workers=1', *COMMAND]
    process = fork_command(tmp_path / 'console', 'train.py', '--outdir', tmp_path / 'parts', *args, '--kimg=100')
    wait_for(lambda: ticks_told(tmp_path / 'parts') >= 3, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C: the processes that load images get it too
    output = finish(process)
    run_dir = only_run(tmp_path / 'parts')
    command = re.search(r'To continue: python (\S+) (--resume=\S+)', output)
    assert command and command[1] == 'train.py' and f'--resume={run_dir}' == command[2], output
    kimg = f'--kimg={(read_state(find_state(run_dir))["images_done"] + 40) / 1000}'
    assert 'Continuing at' in train_here(command[2], kimg)
    train_here('--outdir', tmp_path / 'whole', *args, kimg)
    assert_same_end(only_run(tmp_path / 'whole'), run_dir)
    log = (run_dir / 'log.txt').read_text()
    assert 'To continue' in log and 'Done' in log and 'Traceback' not in log
    # Nothing is left to do now, which is no error for a job that starts the same command again and again.
    assert 'Done' in train_here('--resume=latest', '--outdir', tmp_path / 'parts')


def test_a_second_signal_ends_at_once(tmp_path, rgb_zip):
    process = start_command('train.py', '--outdir', tmp_path, '--data', rgb_zip, '--kimg=100', '--tick=0.5', *COMMAND,
                            '--batch=4000', '--batch-gpu=2')
    wait_for(lambda: list(tmp_path.glob('*/fakes_init.png')), process)
    process.send_signal(signal.SIGTERM)
    wait_for_line('SIGTERM: finishing the step', process)  # of 2000 passes
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert 'SIGINT again' in output and not list(tmp_path.glob('*/*.pkl'))


def test_killed_at_any_moment_the_last_good_state_loads(tmp_path, rgb_zip):
    """kill -9, six times, snapshots being written most of the time."""
    rng = random.Random(0)
    args = ['--data', rgb_zip, '--cond=1', '--kimg=100', '--tick=0.004', '--snap=1', '--keep-snapshots=2', *COMMAND]
    console, outdir = tmp_path / 'console', tmp_path / 'runs'
    process, images = fork_command(console, 'train.py', '--outdir', outdir, *args), 0
    for attempt in range(6):
        wait_for(lambda images=images: list(outdir.glob('*/training-state-*.pt')) and read_progress(outdir) > images, process)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.communicate()
        run_dir = only_run(outdir)
        state = read_state(find_state(run_dir))
        assert state['images_done'] > images, attempt
        images = state['images_done']
        snapshots = sorted(run_dir.glob('network-snapshot-*.pkl'))
        assert 1 <= len(snapshots) <= 3  # two, and one more if it died between writing and removing
        for path in snapshots:
            assert legacy.load_network_pkl(path)['G_ema'] is not None
        read_json(run_dir / 'training_options.json')
        process = fork_command(console, 'train.py', '--resume=latest', '--outdir', outdir)
    process.kill()
    process.communicate()


def read_progress(outdir):
    path = find_state(only_run(outdir))
    return int(re.search(r'(\d+)\.pt', path.name)[1]) if path else -1


def test_killed_runs_end_as_one_that_was_not(tmp_path, rgb_zip):
    """Every life of the process starts from the last saved state, whatever came after it."""
    args = ['--data', rgb_zip, '--cond=1', '--kimg=100', '--tick=0.012', '--snap=3', *COMMAND]
    process = fork_command(tmp_path / 'console', 'train.py', '--outdir', tmp_path / 'parts', *args)
    for told in (5, 14):
        wait_for(lambda told=told: ticks_told(tmp_path / 'parts') >= told, process)
        process.kill()
        process.communicate()
        run_dir = only_run(tmp_path / 'parts')
        if told == 5:
            process = fork_command(tmp_path / 'console', 'train.py', *args, '--outdir', run_dir)  # the same command
    kimg = f'--kimg={(read_state(find_state(run_dir))["images_done"] + 40) / 1000}'
    train_here('--outdir', run_dir, *args, kimg)
    train_here('--outdir', tmp_path / 'whole', *args, kimg)
    assert_same_end(only_run(tmp_path / 'whole'), run_dir)


def test_transfer_killed_during_self_initialisation_and_training(tmp_path, rgb_zip, source_pkl):
    args = ['--data', rgb_zip, '--resume', source_pkl, '--selfinit=distill', '--selfinit-kimg=2', '--code-dim=4', '--batch=4',
            '--kimg=0.1', '--tick=0.012', '--snap=2', '--gamma=0.1', '--device=cpu', '--threads=1']
    train_here('--outdir', tmp_path / 'whole', *args, main=train_hyper.main)
    process = fork_command(tmp_path / 'console', 'train_hyper.py', '--outdir', tmp_path / 'parts', *args)
    wait_for(lambda: list(tmp_path.glob('parts/*/selfinit-state.pt')), process)
    process.kill()
    process.communicate()
    run_dir = only_run(tmp_path / 'parts')
    assert not (run_dir / 'selfinit.pkl').exists()
    process = fork_command(tmp_path / 'console', 'train_hyper.py', '--resume', run_dir)
    wait_for(lambda: ticks_told(tmp_path / 'parts') >= 4, process)
    process.send_signal(signal.SIGTERM)
    assert 'To continue: python train_hyper.py' in finish(process)
    train_here(*args, '--outdir', run_dir, main=train_hyper.main)
    assert_same_end(only_run(tmp_path / 'whole'), run_dir)
    assert (run_dir / 'selfinit.json').read_text() == (only_run(tmp_path / 'whole') / 'selfinit.json').read_text()
