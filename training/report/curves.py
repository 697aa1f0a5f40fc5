"""The charts of a report: for one run, the parts of a quantity together; for several, a chart per part with a line per run."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping

from training.run.run_history import RunHistory, Series, last

from .charts import Line, line_chart

MAX_CLASS_LINES = 8  # more classes are summed up by their lowest and median, with the lowest few by name
NUM_LOWEST = 4
MAX_OTHERS = 60
DIVERSITY, NONFINITE = 'Diversity/', 'Gradients/nonfinite/'
OF_CLASSES = ('Diversity/min', 'Diversity/mean')  # over the classes, not classes


@dataclasses.dataclass(frozen=True)
class Curve:
    """A chart. parts: {name of a line: statistic}. idle: lines that stay at this value are left out."""

    title: str
    unit: str
    note: str
    parts: Mapping[str, str]
    idle: float | None = None


CURVES = (
    Curve('Losses', '', 'Non-saturating logistic loss of generator (G) and discriminator (D), without regularisation.',
          {'G': 'Loss/G/loss', 'D': 'Loss/D/loss'}),
    Curve('Discriminator scores', 'logits', 'Mean output of the discriminator. Far apart: it easily tells real from generated '
                                            'images.',
          {'real': 'Loss/scores/real', 'generated': 'Loss/scores/fake', 'real, wrong label': 'Loss/scores/mismatched'}),
    Curve('Signs of the scores', '-1 to 1', 'Mean sign of the output; adaptive augmentation steers that of real images to a '
                                            'target.',
          {'real': 'Loss/signs/real', 'generated': 'Loss/signs/fake'}),
    Curve('R1 penalty', '', 'Squared norm of the gradient at real images, before its weight gamma.', {'R1': 'Loss/r1_penalty'}),
    Curve('Path length penalty', '', '', {'path length': 'Loss/pl_penalty'}, idle=0),
    Curve('Contrastive loss', '', 'Barlow Twins loss of two views of each image, before its weight.',
          {'real': 'Loss/contrastive/real', 'generated': 'Loss/contrastive/fake'}),
    Curve('Spread', 'ratio', 'Mean distance of generated images of one class in a batch, over that of real ones.',
          {'spread': 'Loss/spread'}),
    Curve('Augmentation', 'probability p', '', {'p': 'Progress/augment'}, idle=0),
    Curve('Rate', 'images per second', '', {'rate': 'Timing/images_per_sec'}),
    Curve('Memory', 'GiB', 'In the first process.', {'CPU': 'Resources/cpu_mem_gb', 'GPU': 'Resources/peak_gpu_mem_gb'}, idle=0),
)
UNSEEN = {'Progress/tick', 'Progress/kimg', 'Timing/sec_per_tick', 'Timing/sec_per_kimg', 'Timing/total_hours'}
DIVERSITY_NOTE = 'Spread of the generated images of a class, relative to its real ones. 1: as varied; near 0: collapsed.'
NONFINITE_NOTE = 'Gradient elements per step that were not finite and were replaced.'


def run_charts(run: RunHistory) -> list[str]:
    """Charts of one run; those without data are left out."""
    charts = [line_chart(curve.title, _parts(run, curve), curve.unit, curve.note) for curve in CURVES]
    nonfinite = [Line(name.removeprefix(NONFINITE), series) for name, series in run.series.items()
                 if name.startswith(NONFINITE) and not _stays(series, 0)]
    return list(filter(None, [
        *charts[:1], line_chart('Diversity of classes', diversity_lines(run), 'ratio', DIVERSITY_NOTE), *charts[1:],
        line_chart('Non-finite gradients', nonfinite, 'elements', NONFINITE_NOTE)]))


def other_charts(run: RunHistory) -> list[str]:
    """Charts of the statistics that run_charts() does not show, the first MAX_OTHERS of them."""
    shown = {stat for curve in CURVES for stat in curve.parts.values()} | UNSEEN
    names = [name for name in run.series if name not in shown and not name.startswith((DIVERSITY, NONFINITE))]
    return list(filter(None, (line_chart(name, [Line(name, run.series[name])]) for name in names[:MAX_OTHERS])))


def comparing_charts(runs: Mapping[str, RunHistory]) -> list[str]:
    """Charts of several runs, {label: run}, with a line per run."""
    charts = []
    for curve in CURVES:
        for part, stat in curve.parts.items():
            title = f'{curve.title}: {part}' if len(curve.parts) > 1 else curve.title
            charts.append(line_chart(title, _of_runs(runs, stat, curve.idle), curve.unit, curve.note))
    lowest = [Line(label, over_classes(class_series(run), min)) for label, run in runs.items()]
    replaced = [Line(label, over_classes(_with_prefix(run, NONFINITE), sum)) for label, run in runs.items()]
    charts.append(line_chart('Diversity of the least varied class', lowest, 'ratio', DIVERSITY_NOTE))
    charts.append(line_chart('Non-finite gradients', [line for line in replaced if not _stays(line.points, 0)], 'elements',
                             NONFINITE_NOTE))
    return list(filter(None, charts))


def selfinit_charts(runs: Mapping[str, RunHistory]) -> list[str]:
    """Error of the self-initialisation, a line per run; no chart if nothing was trained for it."""
    lines = [Line(label if len(runs) > 1 else 'error', run.selfinit) for label, run in runs.items() if len(run.selfinit) > 1]
    note = 'Distance to the source network over generated images; 0: every class equals the source.'
    return list(filter(None, [line_chart('Error', lines, 'relative, of features', note, log=True)]))


def metric_charts(runs: Mapping[str, RunHistory]) -> list[str]:
    """A chart per metric over the snapshots: of one run with its classes, if it has them, of several the headline alone."""
    charts = []
    for name in dict.fromkeys(name for run in runs.values() for line in run.metrics for name in line.results if '/' not in name):
        lines = [Line(label if len(runs) > 1 else 'all', metric_series(run, name)) for label, run in runs.items()]
        if len(runs) == 1:
            run = next(iter(runs.values()))
            classes = [key for line in run.metrics for key in line.results if key.startswith(f'{name}/')]
            by_class = {_class_label(key.removeprefix(f'{name}/')): metric_series(run, key) for key in dict.fromkeys(classes)}
            lines += [Line(label, series) for label, series in by_class.items()] if len(by_class) < MAX_CLASS_LINES else []
        charts.append(line_chart(name, [line for line in lines if line.points]))
    return list(filter(None, charts))


def metric_series(run: RunHistory, name: str) -> Series:
    """A result over the snapshots whose names say their thousands of images; measured again, the newer counts."""
    found = {line.kimg: line.results[name] for line in run.metrics if line.kimg is not None and name in line.results}
    return sorted(found.items())


def class_series(run: RunHistory) -> dict[str, Series]:
    """Diversity of each class by its name."""
    found = _with_prefix(run, DIVERSITY)
    return {_class_label(name): series for name, series in found.items() if DIVERSITY + name not in OF_CLASSES}


def diversity_lines(run: RunHistory) -> list[Line]:
    """A line per class; of many classes the lowest and the median at every time, and the classes that are lowest now."""
    classes = class_series(run)
    if len(classes) <= MAX_CLASS_LINES:
        return [Line(name, series) for name, series in classes.items()]
    summary = [Line('lowest', over_classes(classes, min)), Line('median', over_classes(classes, statistics.median))]
    now = {name: last(series) for name, series in classes.items()}
    lowest = sorted((name for name in now if math.isfinite(now[name])), key=lambda name: now[name])[:NUM_LOWEST]
    return summary + [Line(name, classes[name]) for name in lowest]


def over_classes(series: Mapping[str, Series], join: Callable[[Iterable[float]], float]) -> Series:
    """join() of the finite values at every time."""
    values: dict[float, list[float]] = {}
    for points in series.values():
        for kimg, value in points:
            if math.isfinite(value):
                values.setdefault(kimg, []).append(value)
    return [(kimg, join(values[kimg])) for kimg in sorted(values)]


def _class_label(name: str) -> str:
    """A class whose name is a number is not to be taken for a value."""
    return f'class {name}' if name.isdecimal() else name


def _with_prefix(run: RunHistory, prefix: str) -> dict[str, Series]:
    return {name.removeprefix(prefix): series for name, series in run.series.items() if name.startswith(prefix)}


def _parts(run: RunHistory, curve: Curve) -> list[Line]:
    lines = [Line(label, run.series[stat]) for label, stat in curve.parts.items() if stat in run.series]
    return [line for line in lines if not _stays(line.points, curve.idle)]


def _of_runs(runs: Mapping[str, RunHistory], stat: str, idle: float | None) -> list[Line]:
    lines = [Line(label, run.series.get(stat, [])) for label, run in runs.items()]
    return [] if all(_stays(line.points, idle) for line in lines) else lines


def _stays(points: Iterable[tuple[float, float]], idle: float | None) -> bool:
    return all(y == idle for _, y in points)
