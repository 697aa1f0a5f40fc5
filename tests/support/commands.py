"""The training commands as processes of their own, which no test leaves behind."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from click.testing import CliRunner

REPO = Path(__file__).resolve().parents[2]
# Options of a network that trains in milliseconds.
COMMAND = ['--z-dim=8', '--w-dim=8', '--map-depth=2', '--cbase=64', '--cmax=8', '--batch=4', '--mbstd-group=2', '--gamma=1',
           '--device=cpu', '--threads=1']
_started = []
# Processes that are forked from a server which has imported torch, and what its optimisers import, begin in a tenth of the time.
forking = multiprocessing.get_context('forkserver')
forking.set_forkserver_preload(['train', 'train_hyper', 'torch._dynamo'])


def invoke(main, *args):
    """A command in this process: click's result."""
    return CliRunner().invoke(main, [str(arg) for arg in args])


def invoke_run(main, outdir, *args):
    """A training that succeeds, in this process: its new directory, which is the last in the folder, and the result."""
    result = invoke(main, '--outdir', outdir, *args)
    assert result.exit_code == 0, result.output
    return max(outdir.iterdir()), result


def start_command(script, *args):
    return start([script, *args])


class ForkedCommand:
    """A training command in a process and group of its own, with the interface of Popen; begins sooner than start_command()."""

    def __init__(self, script, args, console):
        self._console = console
        self._process = forking.Process(target=_run_script, args=(script, [str(arg) for arg in args], console))
        self._process.start()
        self.pid, self.kill = self._process.pid, self._process.kill

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=None):
        self._process.join(timeout)
        assert self.returncode is not None, self._console.read_text()
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        return self._console.read_text(), None


def fork_command(console, script, *args):
    """What it prints goes to the file `console`."""
    _started.append(ForkedCommand(script, args, console))
    return _started[-1]


def _run_script(script, args, console):
    os.setsid()
    with open(console, 'w') as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    os.chdir(REPO)
    sys.argv = [script, *args]
    importlib.import_module(script.removesuffix('.py')).main()


def start_torchrun(script, *args, nodes=1, node=0, port=0, processes=2):
    where = ['--standalone'] if nodes == 1 else [f'--nnodes={nodes}', f'--node-rank={node}', '--master-addr=127.0.0.1',
                                                  f'--master-port={port}']
    return start(['-m', 'torch.distributed.run', f'--nproc-per-node={processes}', *where, script, *args])


def start(words, **environment):
    """A Python process in a group of its own."""
    process = subprocess.Popen([sys.executable, *map(str, words)], cwd=REPO, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True,
                               env=os.environ | dict(OMP_NUM_THREADS='1') | environment)
    _started.append(process)
    return process


def end_started():
    """Kill what is left of all that was started: a test that failed must not slow the others down."""
    while _started:
        process = _started.pop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(process, subprocess.Popen):
            process.stdout.close()


def finish(process, code=0):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def wait_for(condition, process, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(f'ended with {process.returncode} (None: too late) before its time: {process.communicate()[0]}')
        time.sleep(0.002)


def wait_for_line(text, process):
    """Read what the process says up to a line with the text; returns the lines."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f'ended with {process.wait()} without saying {text!r}: {"".join(lines)}')


def only_run(outdir):
    run_dir, = outdir.glob('[!.]*')
    return run_dir


def ticks_told(outdir):
    """By the one run in the folder, which may not have begun."""
    return sum(len(path.read_text().splitlines()) for path in outdir.glob('*/stats.jsonl'))
