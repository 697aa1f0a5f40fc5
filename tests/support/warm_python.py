"""A Python whose processes begin with torch imported: each is forked from one server, in a tenth of the time of a fresh one.

warm_python() is a program that stands in for sys.executable: it takes `-c CODE`, `-m MODULE` or a script, and hands arguments,
environment, folder and open files to the server, waits, and ends as the process does. Python's other options go to the usual
Python. Nothing of this project is imported in the server. A process has another id than the program that waits for it; where
it sends SIGTERM to its parent, that of the program gets it.
"""

import ast
import atexit
import contextlib
import fcntl
import functools
import gc
import importlib
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from multiprocessing import spawn
from pathlib import Path

PRELOADED = ['click', 'numpy', 'PIL.Image', 'scipy.special', 'torch', 'torch._dynamo',
             'torch.distributed.nn', 'torch.multiprocessing']
FIRST_FREE = 200    # open files of a process that is being forked are moved here before they get their numbers

# sh starts it, and the next two lines are text to Python: the path of an interpreter may be long or have spaces.
CLIENT = """#!/bin/sh
'''exec' {quoted} -SE "$0" "$@"
' '''
import os, socket, sys
if sys.argv[1:2] == ['-B']:     # multiprocessing hands it on
    del sys.argv[1]
if len(sys.argv) < 2 or (sys.argv[1] not in ('-c', '-m') and sys.argv[1].startswith('-')):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
files = [int(name) for name in os.listdir('/dev/fd')]
files = [number for number in files if os.path.exists(f'/dev/fd/{{number}}')]
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = ascii((sys.argv[1:], dict(os.environ), os.getcwd(), files, os.getppid())).encode()
socket.send_fds(server, [len(request).to_bytes(8, 'big')], files)
server.sendall(request)
code = int(server.recv(10) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def warm_python() -> str:
    """The program, whose server ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix='python'))
    client = folder / 'python'
    client.write_text(CLIENT.format(python=sys.executable, quoted=shlex.quote(sys.executable), address=str(folder / 'socket')))
    client.chmod(0o700)
    server = subprocess.Popen([sys.executable, __file__, str(folder / 'socket'), client], cwd=folder, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=os.environ | dict(OMP_NUM_THREADS='1'), start_new_session=True)
    atexit.register(end, server, folder)
    assert server.stdout.readline() == b'ready\n'
    return str(client)


def end(server, folder):
    server.kill()
    server.wait()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


# --- The server, which runs this file as a script ---

def serve(address):
    """Answer clients until the tests end; returns only in a process forked for one, with its words."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(20)
        os.write(1, b'ready\n')
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    return handle(connection)
            reap_handlers()
        reap_handlers()
    sys.exit()


def reap_handlers():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def handle(connection):
    """Fork the process, wait for it and send its exit code; returns in that process alone. It ends with its client."""
    os.setsid()
    size, files, _, _ = socket.recv_fds(connection, 8, 250)
    with connection.makefile('rb') as stream:
        words, environment, folder, numbers, parent = ast.literal_eval(stream.read(int.from_bytes(size, 'big')).decode())
    pid = os.fork()
    if pid == 0:
        connection.close()
        enter(environment, folder, files, numbers)
        return words
    signal.signal(signal.SIGTERM, lambda *_: os.kill(parent, signal.SIGTERM))   # sent by a process that ends its parent
    for file in [*files, 0, 1, 2]:
        os.close(file)
    ended = 0
    while not ended:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended and select.select([connection], [], [], 0.01)[0]:
            os.killpg(0, signal.SIGKILL)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def enter(environment, folder, files, numbers):
    """Take on the client's surroundings."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD, FIRST_FREE) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, 'w', closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, 'w', buffering=1, errors='backslashreplace', closefd=False)  # noqa: SIM115


def run(words):
    """As `python WORDS`."""
    kind, rest = words[0], words[1:]
    sys.path[:0] = ['' if kind == '-c' else os.getcwd() if kind == '-m' else str(Path(kind).resolve().parent),
                    *filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep))]
    sys.argv = words if kind not in ('-c', '-m') else [kind, *rest[1:]]
    if kind == '-c':
        sys.modules['__main__'] = types.ModuleType('__main__')
        exec(compile(rest[0], '<string>', 'exec'), vars(sys.modules['__main__']))
    elif kind == '-m':
        runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
    else:
        runpy.run_path(kind, run_name='__main__')


def end_with(words):
    """Run them and end as Python does, without the half second that it takes to tear torch down."""
    code = 0
    try:
        run(words)
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code or 0)


if __name__ == '__main__':
    del sys.path[0]     # this file's folder
    address, sys.executable = sys.argv[1:]
    spawn.set_executable(sys.executable)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    end_with(serve(address))
