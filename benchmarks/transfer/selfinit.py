"""Ways to start the transfer, compared at equal numbers of images: self-initialised exactly, by distillation, not at all.

    python -m benchmarks.transfer.selfinit [--variants=exact,distill,none] [--seeds=0,1] [--kimg=N] [--jobs=N]

Every variant, with every seed, turns the model of letters into one of the ten digits; each of its snapshots is judged by
metrics.classes.class_recognition. A finished run is kept and not repeated. After each one the output directory holds results.json
(all numbers), results.md (tables) and results.png (curves) of the runs that are finished.
"""
import functools
import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure
from tqdm import tqdm

from benchmarks.digits_task import OPTIONS, ROOT, judge_command, make_data, num_gen_option, resume_option, run_command, write_text

VARIANTS = {
    'exact': ['--selfinit=exact'],
    'distill': ['--selfinit=distill', '--hyper-scale=0.1', '--selfinit-kimg=20'],
    'none': ['--hyper-scale=0.1'],
    'rank16': ['--selfinit=exact', '--hyper-rank=16'],
    'no-contrastive': ['--selfinit=exact', '--contrastive=none'],
    'full-rate': ['--selfinit=exact', '--glr=0.0025'],
}
SNAPSHOT_KIMG = 4
JUDGE_SEED = 0  # one judge, and the same latents, for all runs
JUDGED = {'recognised': '.1%', 'spread': '.2f'}
REFERENCE = ['real_recognised', 'real_spread']
NOTE = """
Mean, and the range where there are several seeds. Recognised: share of {num_gen} generated digits a class that a
judge assigns to the class asked for; it is right on {real_recognised:.1%} of real images. Spread: standard deviation within a
class over that of the training images; other real images have {real_spread:.2f}. Feature error: relative distance of the
generator's features from the source's, mean over blocks. To the first batch: start of the program and self-initialisation.
"""


def check_names(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    """The variants that are named, each once."""
    names = list(dict.fromkeys(value.split(',')))
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise click.BadParameter(f'{", ".join(map(repr, unknown))}: expected names of {", ".join(VARIANTS)}, with commas')
    return names


def check_seeds(_context: click.Context, _parameter: click.Parameter, value: str) -> list[int]:
    """The seeds that are named, each once."""
    if not all(seed.isdecimal() and int(seed) < 2**31 for seed in value.split(',')):
        raise click.BadParameter(f'{value!r}: expected whole numbers from 0 to 2147483647, with commas')
    return list(dict.fromkeys(map(int, value.split(','))))


def run_settings(variant: str, seed: int, resume: Path, kimg: int, num_gen: int) -> dict[str, Any]:
    """What a run depends on besides the program. Equal settings, equal run."""
    return dict(variant=variant, seed=seed, options=[*OPTIONS, *VARIANTS[variant]], kimg=kimg, num_gen=num_gen,
                source=resume.name, source_sha256=hashlib.sha256(resume.read_bytes()).hexdigest())


def finished_run(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The result that run() left in folder, if it was run with these settings."""
    path = folder / 'result.json'
    result = json.loads(path.read_text()) if path.is_file() else None
    return result if result and result['settings'] == settings else None


def run(folder: Path, settings: dict[str, Any], resume: Path, data: dict[str, Path]) -> dict[str, Any]:
    """Train one variant with one seed on one thread and judge its snapshots; what the commands say goes to output.log."""
    folder.mkdir(parents=True, exist_ok=True)
    log, started = folder / 'output.log', time.time()
    run_command('train_hyper.py', f'--outdir={folder}', f'--data={data["train"]}', f'--resume={resume}',
                f'--kimg={settings["kimg"]}', f'--seed={settings["seed"]}', *settings['options'], '--threads=1',
                f'--tick={SNAPSHOT_KIMG}', '--snap=1', log=log, threads=1)
    ended = time.time()
    run_dir = max(path for path in folder.glob('[0-9]*-*') if path.is_dir())  # an earlier one was cut off
    selfinit = run_dir / 'selfinit.json'
    first_tick = json.loads((run_dir / 'stats.jsonl').read_text().partition('\n')[0])  # one batch long
    snapshots = []
    for network in sorted(run_dir.glob('network-snapshot-*.pkl')):
        report = network.with_suffix('.json')
        run_command(*judge_command(network, data, settings['num_gen'], JUDGE_SEED, report), log=log, threads=1)
        judged = json.loads(report.read_text())
        snapshots.append({'kimg': int(network.stem.rpartition('-')[2])}
                         | {name: judged[name] for name in [*JUDGED, *REFERENCE, 'classes']})
    result = dict(settings=settings, selfinit=json.loads(selfinit.read_text()) if selfinit.is_file() else None,
                  start_minutes=(first_tick['timestamp'] - started) / 60, minutes=(ended - started) / 60, snapshots=snapshots)
    write_text(folder / 'result.json', json.dumps(result) + '\n')
    return result


def by_variant(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Finished runs of each variant, in the order of the table of variants."""
    found = {name: [run for run in runs if run['settings']['variant'] == name] for name in VARIANTS}
    return {name: chosen for name, chosen in found.items() if chosen}


def judged_at(runs: list[dict[str, Any]], name: str) -> dict[int, list[float]]:
    """kimg -> the number called name of every run that has a snapshot there."""
    values: dict[int, list[float]] = {}
    for snapshot in (snapshot for run in runs for snapshot in run['snapshots']):
        values.setdefault(snapshot['kimg'], []).append(snapshot[name])
    return dict(sorted(values.items()))


def cell(values: list[float], spec: str) -> str:
    """Mean, and the range of several values."""
    if not values:
        return '-'
    mean = format(statistics.fmean(values), spec)
    return mean if len(values) == 1 else f'{mean} ({min(values):{spec}} to {max(values):{spec}})'


def markdown_row(cells: list[str]) -> str:
    """One line of a table."""
    return f'| {" | ".join(cells)} |\n'


def markdown_head(cells: list[str]) -> str:
    """The first column is text, the others are numbers."""
    return markdown_row(cells) + '|---' + '|---:' * (len(cells) - 1) + '|\n'


def start_table(runs: list[dict[str, Any]]) -> str:
    """How the variants start, and what that costs."""
    table = markdown_head(['start', 'feature error before', 'feature error', 'images', 'minutes to the first batch',
                           'minutes in all', 'seeds'])
    for name, chosen in by_variant(runs).items():
        results = [run['selfinit'] for run in chosen if run['selfinit']]
        before = [result['curve'][0][1] for result in results if len(result['curve']) > 1]  # exact trains nothing
        table += markdown_row([
            f'{name}: `{" ".join(VARIANTS[name])}`', cell(before, '.2g'),
            cell([result['relative_error'] for result in results], '.2g'), cell([result['images'] for result in results], ',.0f'),
            cell([run['start_minutes'] for run in chosen], '.1f'), cell([run['minutes'] for run in chosen], '.1f'),
            str(len(chosen))])
    return table


def markdown(report: dict[str, Any]) -> str:
    """The tables of a report, and what they mean."""
    runs = report['runs']
    text = f'# Ways to start the transfer\n\n`{report["command"]}`\n\n{start_table(runs)}'
    steps = sorted({snapshot['kimg'] for run in runs for snapshot in run['snapshots']})
    for name, spec in JUDGED.items():
        text += '\n' + markdown_head([f'{name} after', *(f'{kimg},000 images' for kimg in steps)])
        for variant, chosen in by_variant(runs).items():
            values = judged_at(chosen, name)
            text += markdown_row([variant, *(cell(values.get(kimg, []), spec) for kimg in steps)])
    settings, reference = runs[0]['settings'], runs[0]['snapshots'][-1]
    text += NOTE.format(num_gen=settings['num_gen'], **{name: reference[name] for name in REFERENCE})
    options = ' '.join(OPTIONS)
    machine = ', '.join(f'{name} {value}' for name, value in report['versions'].items())
    return text + f'\nSource: {settings["source"]}. Common options: `{options} --threads=1`. {machine}.\n'


def plot(runs: list[dict[str, Any]]) -> Figure:
    """A line for the mean and a band for the range of each variant, against thousands of images."""
    figure = Figure(figsize=(11, 4.5), layout='constrained')
    for axes, name in zip(figure.subplots(1, len(JUDGED)), JUDGED, strict=True):
        for variant, chosen in by_variant(runs).items():
            values = judged_at(chosen, name)
            mean, low, high = ([f(found) for found in values.values()] for f in (statistics.fmean, min, max))
            axes.plot(list(values), mean, marker='o', label=variant)
            axes.fill_between(list(values), low, high, alpha=0.15)
        axes.set(xlabel='thousand images', ylabel=name, ylim=(0, 1.05 * axes.dataLim.y1))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def write_results(outdir: Path, command: str, runs: list[dict[str, Any]]) -> None:
    """results.json, results.md and results.png of the runs, in the order of seeds and variants."""
    versions = dict(python=platform.python_version(), torch=version('torch'), numpy=version('numpy'),
                    machine=platform.machine(), cores=os.cpu_count())
    order = sorted(runs, key=lambda run: (run['settings']['seed'], list(VARIANTS).index(run['settings']['variant'])))
    report = dict(command=command, versions=versions, runs=order)
    outdir.mkdir(parents=True, exist_ok=True)
    write_text(outdir / 'results.json', json.dumps(report, indent=1) + '\n')
    write_text(outdir / 'results.md', markdown(report))
    picture = outdir / 'results.png.part'
    plot(order).savefig(picture, format='png', dpi=100)
    os.replace(picture, outdir / 'results.png')


def run_all(calls: Sequence[Callable[[], dict[str, Any]]], jobs: int, done: Callable[[dict[str, Any]], None]) -> None:
    """Run the calls in their order, jobs at a time, and hand each result to done. One that fails does not stop the others.

    Raises ClickException (exit code 1) at the end if any failed.
    """
    executor, num_failed = ThreadPoolExecutor(jobs), 0
    try:
        with tqdm(total=len(calls), desc='Runs', unit='run') as bar:
            for future in as_completed([executor.submit(call) for call in calls]):
                try:
                    done(future.result())
                except click.ClickException as error:
                    num_failed += 1
                    bar.write(error.format_message(), file=sys.stderr)
                bar.update()
    finally:
        executor.shutdown(cancel_futures=True)
    if num_failed:
        raise click.ClickException(f'{num_failed} of {len(calls)} runs failed; the same command tries them again')


@click.command()
@resume_option
@click.option('--variants', callback=check_names, default=','.join(VARIANTS), show_default=True, help='Which to compare.')
@click.option('--seeds', callback=check_seeds, default='0,1', show_default=True, help='Seeds of the training of every variant.')
@click.option('--kimg', type=click.IntRange(min=1), default=16, show_default=True, help='Thousands of images of each transfer.')
@num_gen_option
@click.option('--jobs', type=click.IntRange(min=1), default=2, show_default=True, help='Runs at a time, one thread each.')
@click.option('--runs', type=click.Path(file_okay=False, path_type=Path), default=Path('training-runs/selfinit-benchmark'),
              show_default=True, help='Where data and runs are kept.')
@click.option('--outdir', type=click.Path(file_okay=False, path_type=Path), default=ROOT / 'benchmarks' / 'results' / 'selfinit',
              show_default='benchmarks/results/selfinit', help='Where the results are written.')
def main(resume: Path, variants: list[str], seeds: list[int], kimg: int, num_gen: int, jobs: int, runs: Path,
         outdir: Path) -> None:
    """Compare ways to start the transfer of a model of letters to the ten digits.

    Example: python -m benchmarks.transfer.selfinit --variants=exact,none --seeds=0 --kimg=8
    """
    command = ' '.join(['python -m benchmarks.transfer.selfinit', *sys.argv[1:]])
    runs.mkdir(parents=True, exist_ok=True)
    data = make_data(runs)
    results, calls = [], []
    for seed in seeds:
        for variant in variants:
            folder, settings = runs / f'{variant}-seed{seed}', run_settings(variant, seed, resume, kimg, num_gen)
            result = finished_run(folder, settings)
            if result:
                results.append(result)
            else:
                calls.append(functools.partial(run, folder, settings, resume, data))
    click.echo(f'{len(results)} runs were finished before, {len(calls)} to do', err=True)
    if results:
        write_results(outdir, command, results)

    def keep(result: dict[str, Any]) -> None:
        results.append(result)
        write_results(outdir, command, results)

    run_all(calls, jobs, keep)
    click.echo((outdir / 'results.md').read_text() + f'\nresults.json, results.md and results.png are in {outdir}')


if __name__ == '__main__':
    main()
