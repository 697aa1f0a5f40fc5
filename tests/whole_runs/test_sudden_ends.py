"""Ends that nobody planned: errors with processes that load images, a console that goes, a parent that is killed."""

import io
import signal
import threading
import zipfile
from types import SimpleNamespace

import psutil
import pytest
from PIL import Image

from commands import launch
from tests.commands.test_going_on import call, images_done
from tests.support.commands import COMMAND, finish, fork_command, only_run, start_command, ticks_told, wait_for
from training.run.run_lock import lock_run

ARGS = ['--cond=1', '--kimg=100', '--tick=0.012', '--snap=1', *COMMAND]


def fork_train(folder, data, *args):
    return fork_command(folder / 'console', 'train.py', '--outdir', folder / 'runs', '--data', data, *ARGS, *args)


def damage(path, target, number):
    """A copy of a data set in which one picture is cut short; its head is whole."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, 'w') as copy:
        names = source.namelist()
        pictures = sorted(name for name in names if name.endswith('.png'))
        for name in names:
            data = source.read(name)
            if name == pictures[number]:
                buffer = io.BytesIO()
                Image.effect_noise((16, 16), 100).convert('RGB').save(buffer, 'PNG')
                data = buffer.getvalue()[:400]
            copy.writestr(name, data)
    return target


def test_a_run_that_diverges_ends_though_others_load_its_images(tmp_path, rgb_zip):
    process = fork_train(tmp_path, rgb_zip, '--workers=1', '--glr=1e30')
    assert 'training diverged' in finish(process, code=1)


@pytest.mark.parametrize('gpus', [1, 2])
def test_an_image_that_another_process_cannot_read_ends_the_run(tmp_path, rgb_zip, gpus):
    damaged = damage(rgb_zip, tmp_path / 'damaged.zip', 7)
    process = fork_train(tmp_path, damaged, '--workers=1', f'--gpus={gpus}')
    assert 'Error: ' in finish(process, code=2).splitlines()[-1]


@pytest.mark.parametrize('place', ['within a tick', 'at its end'])
def test_a_console_that_ends_with_the_same_ctrl_c(tmp_path, rgb_zip, place):
    """As in `train.py | tee`: what the run still has to say goes to its log."""
    args = ['--tick=1000', '--snap=1'] if place == 'within a tick' else []
    process = start_command('train.py', '--outdir', tmp_path, '--data', rgb_zip, *ARGS, *args)
    wait_for(lambda: ticks_told(tmp_path) > 0, process)
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 0
    run_dir = only_run(tmp_path)
    assert images_done(run_dir) > 0 and 'To continue' in (run_dir / 'log.txt').read_text()


def test_going_on_at_once_after_a_kill_with_workers(tmp_path, rgb_zip):
    """Those that load images live some seconds longer."""
    process = fork_train(tmp_path, rgb_zip, '--workers=2')
    wait_for(lambda: list(tmp_path.glob('runs/*/training-state-*.pt')), process)
    process.kill()
    process.wait()
    with lock_run(only_run(tmp_path / 'runs')):
        pass


def test_a_process_that_is_killed(tmp_path, rgb_zip):
    """The other one ends soon, and nobody is said to have sent a signal that asks to stop."""
    process = fork_train(tmp_path, rgb_zip, '--gpus=2')
    wait_for(lambda: list(tmp_path.glob('runs/*/training-state-*.pt')), process)
    trainers = [child for child in psutil.Process(process.pid).children() if 'spawn_main' in ' '.join(child.cmdline())]
    trainers[-1].kill()
    told = finish(process, code=1)
    assert 'was ended by SIGKILL' in told.splitlines()[-1]
    log = (only_run(tmp_path / 'runs') / 'log.txt').read_text()
    assert 'SIGINT' not in told + log and 'SIGTERM' not in told + log and 'was ended by SIGKILL' in log


def test_processes_that_outlive_their_parent_are_waited_for(tmp_path, rgb_zip):
    process = fork_train(tmp_path, rgb_zip, '--gpus=2')
    wait_for(lambda: list(tmp_path.glob('runs/*/training-state-*.pt')), process)
    run_dir = only_run(tmp_path / 'runs')
    with pytest.raises(ValueError, match='is in use by another'), lock_run(run_dir / 'log.txt'):
        pass
    process.kill()
    process.wait()
    result = call('--resume', run_dir, '--gpus=1', '--kimg=0.001')
    assert result.exit_code == 0 and 'Done' in result.output, result.output
    assert len(list(run_dir.glob('training-state-*.pt'))) == 1


def test_but_not_for_ever(tmp_path, rgb_zip, monkeypatch):
    monkeypatch.setattr(launch, 'ORPHAN_SEC', 0.3)
    args = ['--outdir', tmp_path, '--data', rgb_zip, *ARGS, '--kimg=0.008']
    assert call(*args).exit_code == 0
    run_dir = only_run(tmp_path)
    done, held = threading.Event(), threading.Event()

    def hold():
        with lock_run(run_dir / 'log.txt'):
            held.set()
            done.wait(300)

    def release_soon_after(path, patience_sec=0):
        if path.name == launch.LOG:
            threading.Timer(0.3, done.set).start()
        return lock_run(path, patience_sec)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(300)
    result = call('--resume', run_dir, '--kimg=0.016')
    assert result.exit_code == 2 and 'is in use by another training process' in result.stderr
    monkeypatch.setattr(launch, 'ORPHAN_SEC', 60)
    monkeypatch.setattr(launch, 'lock_run', release_soon_after)
    result = call('--resume', run_dir, '--kimg=0.016')
    done.set()
    thread.join()
    assert result.exit_code == 0, result.output


def test_a_log_that_cannot_take_the_reason_does_not_hide_it(tmp_path, monkeypatch):
    def fail(*_args):
        raise RuntimeError('process 1 was lost')

    monkeypatch.setattr(launch, 'start_processes', fail)
    with pytest.raises(RuntimeError, match='process 1 was lost'):
        launch._train_in_processes(tmp_path / 'gone', SimpleNamespace(num_gpus=2), '')
