"""Attribute dictionary, lookup of objects by dotted name, console logging and time formatting."""
import contextlib
import errno
import importlib
import os
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import Any, TextIO

from .files import PatientFile
from .urls import is_url, make_cache_dir_path, open_url

__all__ = [
    'EasyDict', 'Logger', 'call_func_by_name', 'construct_class_by_name', 'format_time', 'get_module_from_obj_name',
    'get_obj_by_name', 'get_top_level_function_name', 'is_pickleable', 'is_url', 'make_cache_dir_path', 'open_url',
]

# Colours, moves of the cursor, titles (ECMA-48); and what is left of control characters but tab and line feed.
_TERMINAL_CODES = re.compile(r'\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])')
_CONTROL_CHARACTERS = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]')


class EasyDict(dict[str, Any]):
    """Dictionary whose entries are attributes too: d.x is d['x']. Methods of dict come first."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f'{type(self).__name__} has no entry {name!r}; it has {", ".join(map(str, self)) or "none"}')

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f'{type(self).__name__} has no entry {name!r} to delete')
        del self[name]


# --- objects by name ---

def get_module_from_obj_name(obj_name: str) -> tuple[ModuleType, str]:
    """('module', 'rest.of.name') of a dotted name: the longest importable front part, as the module, and what remains.

    `np.` stands for numpy. ImportError if no front part is a module, or if one is but fails on import;
    AttributeError if the module lacks the rest.
    """
    parts = ['numpy' if i == 0 and part == 'np' else part for i, part in enumerate(obj_name.split('.'))]
    for length in range(len(parts) if all(parts) else 0, 0, -1):
        name = '.'.join(parts[:length])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as err:
            # `name` or a front part of it does not exist: try a shorter one. Anything else is missing inside a module.
            if err.name is None or not f'{name}.'.startswith(f'{err.name}.'):
                raise
            continue
        rest = parts[length:]
        _attribute(module, rest)
        return module, '.'.join(rest)
    raise ImportError(f'no module found for {obj_name!r}; expected a dotted name such as torch.optim.Adam')


def get_obj_by_name(name: str) -> Any:
    """The module, class, function or other object of a dotted name: get_obj_by_name('torch.optim.Adam')."""
    module, rest = get_module_from_obj_name(name)
    return _attribute(module, rest.split('.') if rest else [])


def call_func_by_name(*args: Any, func_name: str, **kwargs: Any) -> Any:
    """Call the function of this dotted name with the other arguments and return what it returns."""
    fn = get_obj_by_name(func_name)
    if not callable(fn):
        raise ValueError(f'{func_name} is a {type(fn).__name__}; expected the name of a function or class')
    return fn(*args, **kwargs)


def construct_class_by_name(*args: Any, class_name: str, **kwargs: Any) -> Any:
    """Instance of the class of this dotted name, constructed with the other arguments."""
    return call_func_by_name(*args, func_name=class_name, **kwargs)


def get_top_level_function_name(obj: Callable[..., Any]) -> str:
    """Dotted name under which a function or class defined at the top level of a module can be found again."""
    module, qualname = sys.modules.get(obj.__module__), obj.__qualname__
    if module is None or getattr(module, qualname, None) is not obj:
        raise ValueError(f'{obj.__module__}.{qualname} cannot be found by name; expected a function at the top level '
                         'of a module')
    # A script is a module of its file's name to everybody else.
    is_script = module.__name__ == '__main__' and module.__file__ is not None
    name = os.path.splitext(os.path.basename(str(module.__file__)))[0] if is_script else module.__name__
    return f'{name}.{qualname}'


def is_pickleable(obj: Any) -> bool:
    """True if pickle can write the object."""
    try:
        pickle.dumps(obj)
    except Exception:   # __reduce__ of any class may run, so any error may come
        return False
    return True


def _attribute(obj: Any, names: list[str]) -> Any:
    for name in names:
        obj = getattr(obj, name)
    return obj


# --- console and time ---

class Logger:
    """Copies what is written to stdout and stderr to a file as well, from construction until close().

    Also a context manager. `file_mode` 'w' overwrites, 'a' appends. `should_flush` makes every write visible at once. The file
    holds plain lines: no redrawn progress bars, no colours. On a full disk the console still shows everything, and the file
    follows when there is space again.
    """

    def __init__(self, file_name: str | None = None, file_mode: str = 'w', should_flush: bool = True) -> None:
        if file_mode not in ('w', 'a'):
            raise ValueError(f'file_mode must be {"w"!r} (overwrite) or {"a"!r} (append), got {file_mode!r}')
        self.file = None if file_name is None else PatientFile(file_name, file_mode, self._keep_news)
        self.should_flush = should_flush
        self._news = ''     # what the console is to be told of the file, at its next line
        self._streams = sys.stdout, sys.stderr
        self._tees = _Tee(sys.stdout, self), _Tee(sys.stderr, self)
        sys.stdout, sys.stderr = self._tees

    def __enter__(self) -> 'Logger':
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def write(self, text: str | bytes) -> None:
        """Write to the console and the file."""
        self._tees[0].write(text)

    def flush(self) -> None:
        """Write out what is buffered for the console and the file."""
        self._tees[0].flush()

    def close(self) -> None:
        """Close the file and give stdout and stderr back, unless something else has replaced them since. Idempotent."""
        self.flush()
        if sys.stdout is self._tees[0]:
            sys.stdout = self._streams[0]
        if sys.stderr is self._tees[1]:
            sys.stderr = self._streams[1]
        if self.file is not None:
            self.file.close()
            self.file = None
        self._tell_news()

    def _keep_news(self, text: str) -> None:
        self._news += f'{text}\n'

    def _tell_news(self) -> None:
        if self._news:
            news, self._news = self._news, ''
            with _console_may_go(self._streams[1]):
                self._streams[1].write(news)
                self._streams[1].flush()


@contextlib.contextmanager
def _console_may_go(stream: TextIO) -> Iterator[None]:
    """The reader of the console may end before this process, as `tee` does at a Ctrl-C: later output is dropped."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # also for what Python writes out at its end
        os.close(nowhere)


class _Tee:
    """Stands in for a console stream; everything but writing is answered by that stream."""

    def __init__(self, stream: TextIO, logger: Logger) -> None:
        self._stream, self._logger = stream, logger
        self._after_bar = False     # the file lacks the line that the console is in

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str | bytes) -> int:
        text = text.decode() if isinstance(text, bytes) else text
        with _console_may_go(self._stream):
            self._stream.write(text)
        if self._logger.file is not None and (plain := self._plain(text)):
            self._logger.file.write(plain)
        if self._logger.should_flush:
            self.flush()
        if text.endswith('\n'):
            self._logger._tell_news()
        return len(text)

    def flush(self) -> None:
        with _console_may_go(self._stream):
            self._stream.flush()
        if self._logger.file is not None:
            self._logger.file.flush()

    def _plain(self, text: str) -> str:
        """Without the lines that a carriage return draws over, their ends, and control characters."""
        kept = []
        for line in re.findall(r'[^\n]*\n|[^\n]+', _TERMINAL_CODES.sub('', text.replace('\r\n', '\n'))):
            if '\r' in line:
                self._after_bar = not line.endswith('\n')
            elif self._after_bar and line == '\n':
                self._after_bar = False
            else:
                self._after_bar = False
                kept.append(_CONTROL_CHARACTERS.sub('', line))
        return ''.join(kept)


def format_time(seconds: float) -> str:
    """Duration rounded to whole seconds: '59s', '1m 01s', '1h 02m 03s', '2d 03h 04m'."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f'{days}d {h:02d}h {m:02d}m'
    if hours:
        return f'{hours}h {m:02d}m {s:02d}s'
    return f'{minutes}m {s:02d}s' if minutes else f'{s}s'
