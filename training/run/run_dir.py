"""Run directories: their names and records, which one to continue, and which snapshots to keep."""

import contextlib
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from dnnlib.files import write_whole
from dnnlib.schema import parse_json

RECORD = 'run.json'
OPTIONS = 'training_options.json'
LATEST = 'latest'
DEFAULT_RUNS_DIR = 'training-runs'
SNAPSHOT_PATTERN = 'network-snapshot-*.pkl'
BEST = 'network-best.pkl'
ADVICE = 'restore it, or start a new run'
MAX_JSON_BYTES = 2**26
NAME_BYTES = 150  # file systems take 255


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory with its record: the command, its options by name, facts about the data."""

    path: Path
    command: str
    options: dict[str, Any]
    data: dict[str, Any]

    @property
    def has_begun(self) -> bool:
        """Whether training began; then its configuration exists."""
        return (self.path / OPTIONS).is_file()


def make_run_dir(outdir: str | Path, description: str) -> Path:
    """Make outdir/00000-description, with the number that follows the highest there."""
    outdir = Path(outdir)
    outdir.mkdir(parents=True, exist_ok=True)
    description = re.sub(r'[^\w.,+-]+', '_', description).encode()[:NAME_BYTES].decode(errors='ignore')
    while True:
        numbers = [int(match[1]) for path in outdir.iterdir() if (match := re.match(r'(\d+)-', path.name))]
        run_dir = outdir / f'{max(numbers, default=-1) + 1:05d}-{description}'
        try:
            run_dir.mkdir()
            return run_dir
        except FileExistsError:  # another run took the number in the same moment
            continue


def save_json(path: Path, value: Any) -> None:
    """Write value as indented JSON; the file is whole or absent."""
    write_whole(path, json.dumps(value, indent=2) + '\n')


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. ValueError, one line, if it has none."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f'{path} has {path.stat().st_size} bytes, expected {MAX_JSON_BYTES} at most; {ADVICE}')
    try:
        value = parse_json(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is not readable as JSON ({error}); {ADVICE}') from error
    if not isinstance(value, dict):
        raise ValueError(f'{path} holds a {type(value).__name__}, expected an object; {ADVICE}')
    return value


def record_run(run: Run) -> None:
    """Write the record of a new run."""
    save_json(run.path / RECORD, dict(command=run.command, options=run.options, data=run.data))


def read_run(path: Path) -> Run:
    """The run of a directory. ValueError, one line, if its record is damaged."""
    record = read_json(path / RECORD)
    if not all(isinstance(record.get(key), kind) for key, kind in dict(command=str, options=dict, data=dict).items()):
        raise ValueError(f'{path / RECORD} lacks the command, options or data of the run; {ADVICE}')
    return Run(path, record['command'], record['options'], record['data'])


def find_run(resume: str | None, outdir: str, command: str) -> Run | None:
    """The run that a command line continues, None if it starts a new one.

    For --resume=latest it is the newest one of this command under outdir, else --resume or outdir if it is a run directory.
    ValueError if there is none, or if another command made it.
    """
    if resume == LATEST:
        return _latest(outdir, command)
    path = next((Path(name) for name in (resume, outdir) if name and (Path(name) / RECORD).is_file()), None)
    if path is None:
        if resume and Path(resume).is_dir():
            raise ValueError(f'--resume={resume} is a directory without {RECORD}: give a run directory such as '
                             f'{DEFAULT_RUNS_DIR}/00000-..., or a snapshot file')
        return None
    run = read_run(path)
    if run.command != command:
        raise ValueError(f'{path} is a run of {run.command}: continue it with python {run.command} --resume={path}')
    return run


def _latest(outdir: str, command: str) -> Run:
    """The run of this command under outdir, at any depth, with the most recent write."""
    runs = []
    for path in filter(Path.is_file, Path(outdir).rglob(RECORD)):
        with contextlib.suppress(ValueError, OSError):  # a damaged one is no reason not to find the others
            runs.append(read_run(path.parent))
    own = [run for run in runs if run.command == command]
    if not own:
        others = f', only {len(runs)} of other commands' if runs else ''
        raise ValueError(f'--resume={LATEST} found no run of {command} under {outdir}{others}: give --outdir, or --resume=RUNDIR')
    return max(own, key=lambda run: (_last_write(run.path), run.path.name))


def _last_write(run_dir: Path) -> int:
    """Nanoseconds since the epoch."""
    times = []
    for path in run_dir.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a living run renames files
            times.append(path.stat().st_mtime_ns)
    return max(times, default=0)


def all_snapshots(outdir: str | Path = DEFAULT_RUNS_DIR) -> list[Path]:
    """Every network-snapshot-*.pkl in outdir, at any depth, the most recently written first."""
    times = {}
    for path in Path(outdir).rglob(SNAPSHOT_PATTERN):
        with contextlib.suppress(FileNotFoundError):  # a living run removes old ones
            times[path] = path.stat().st_mtime_ns
    return sorted(times, key=lambda path: (times[path], path.name), reverse=True)


def newest_snapshot(outdir: str | Path = DEFAULT_RUNS_DIR) -> Path:
    """The first of all_snapshots(). FileNotFoundError if there is none."""
    found = all_snapshots(outdir)
    if not found:
        raise FileNotFoundError(f'no {SNAPSHOT_PATTERN} under {outdir}: train first, or name a snapshot with --network=PATH')
    return found[0]


def prune_snapshots(run_dir: Path, keep: int | None) -> None:
    """Remove all but the newest `keep` snapshots; None keeps all. network-best.pkl stays."""
    if keep is not None:
        for path in sorted(run_dir.glob(SNAPSHOT_PATTERN))[:-keep]:
            path.unlink(missing_ok=True)
