"""commands/cli.py: exit codes and one-line errors as a command shows them, devices, snapshots, seeds."""

import errno
import importlib
import os
import subprocess
import sys

import click
import pytest
import torch
from click.testing import CliRunner

from commands.cli import UserPath, command_errors, device_option, parse_seeds, resolve_device, verbose_option
from training.run.run_dir import newest_snapshot


def run(error, verbose=False):
    @click.command()
    @verbose_option
    def command(verbose):
        with command_errors(verbose):
            raise error

    return CliRunner().invoke(command, ['--verbose'] if verbose else [])


@pytest.mark.parametrize('error, code, line', [
    (ValueError('found 3,\n  expected 4'), 2, 'Error: found 3, expected 4'),
    (FileNotFoundError(errno.ENOENT, 'No such file or directory', 'x.zip'), 2, 'Error: x.zip: No such file or directory'),
    (OSError('x.zip is no zip file'), 2, 'Error: x.zip is no zip file'),
    (OSError(errno.ENOSPC, 'No space left on device', 'out.png'), 1, 'Error: out.png: No space left on device'),
    (ValueError(), 2, 'Error: ValueError'),
    (RuntimeError('out of memory\nlong story'), 1, 'Error: RuntimeError: out of memory (--verbose shows where)'),
    (click.ClickException('own words'), 1, 'Error: own words'),
])
def test_errors_are_one_line_with_an_exit_code(error, code, line):
    result = run(error)
    assert (result.exit_code, result.output) == (code, f'{line}\n')


@pytest.mark.parametrize('error, code', [(ValueError('bad'), 2), (RuntimeError('bad'), 1)])
def test_verbose_shows_the_traceback(error, code):
    result = run(error, verbose=True)
    assert result.exit_code == code
    assert 'Traceback' in result.output and result.output.endswith('bad\n' if code == 2 else 'where)\n')


def test_interrupt_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt), command_errors():
        raise KeyboardInterrupt


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: False)
    assert resolve_device('auto') == resolve_device('cpu') == torch.device('cpu')
    with pytest.raises(ValueError, match='--device=cuda is not available'):
        resolve_device('cuda')
    with pytest.raises(ValueError, match='unknown'):
        resolve_device('tpu')
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    assert resolve_device('auto') == torch.device('mps')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert resolve_device('auto') == torch.device('cuda')


def test_device_option_refuses_other_names():
    command = click.command()(device_option(lambda device: click.echo(device)))
    assert CliRunner().invoke(command, []).output == 'auto\n'
    assert CliRunner().invoke(command, ['--device=tpu']).exit_code == 2


def test_newest_snapshot_is_by_time_across_runs(tmp_path):
    for time, name in [(30, '00000-a/network-snapshot-000200.pkl'), (50, '00001-b/network-snapshot-000100.pkl'),
                       (40, '00001-b/network-snapshot-000000.pkl'), (60, '00001-b/selfinit.pkl')]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (time, time))
    assert newest_snapshot(tmp_path) == tmp_path / '00001-b/network-snapshot-000100.pkl'
    assert newest_snapshot(tmp_path / '00000-a').name == 'network-snapshot-000200.pkl'


def test_no_snapshot_is_an_error(tmp_path):
    for outdir in [tmp_path, tmp_path / 'absent']:
        with pytest.raises(FileNotFoundError, match='no network-snapshot'):
            newest_snapshot(outdir)


@pytest.mark.parametrize('text, seeds', [
    ('7', [7]), ('0-3', [0, 1, 2, 3]), ('3, 0-1', [3, 0, 1]), ('5-5,5,4-6', [5, 4, 6]), (str(2**32 - 1), [2**32 - 1]),
])
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize('text', ['', 'a', '1,', '-1', '3-1', str(2**32), '0-99999999'])
def test_wrong_seeds(text):
    with pytest.raises(ValueError, match='--seeds'):
        parse_seeds(text)


@pytest.mark.parametrize('given, want', [('~', '{home}'), ('~/a.zip', '{home}/a.zip'), ('a/~', 'a/~'), ('http://a/~b', 'http://a/~b')])
def test_a_leading_tilde_is_the_home_directory(given, want, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))

    @click.command()
    @click.option('--dest', type=UserPath())
    def command(dest):
        click.echo(dest)

    assert CliRunner().invoke(command, [f'--dest={given}']).output.strip() == want.format(home=tmp_path)


PATHS = {'dataset_tool': ['source', 'dest'], 'train': ['data', 'outdir', 'resume'], 'train_hyper': ['data', 'outdir', 'resume'],
         'calc_metrics': ['network', 'data', 'test_data', 'outdir', 'detector'],
         'generate': ['network', 'outdir', 'projected', 'video'],
         'export': ['network', 'out', 'runtime'], 'project': ['network', 'target', 'detector', 'outdir'], 'view': ['network']}


@pytest.mark.parametrize('command', PATHS)
def test_every_command_knows_the_home_directory(command):
    options = {option.name: option.type for option in importlib.import_module(command).main.params}
    assert all(isinstance(options[name], UserPath) for name in PATHS[command])


def test_names_that_a_strict_terminal_cannot_show_do_not_fail():
    """UTF-8 without surrogates, and ASCII."""
    program = ('import sys, click\nfrom commands.cli import command_errors\n'
               'with command_errors():\n    print("caf\\udce9 \\u732b")\n    click.echo("caf\\udce9 \\u732b", err=True)')
    for encoding in ('utf-8', 'ascii'):
        result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, encoding='utf-8', check=False,
                                env={**os.environ, 'PYTHONIOENCODING': f'{encoding}:strict'})
        assert result.returncode == 0 and result.stdout.startswith('caf?') and result.stderr.startswith('caf?'), result
