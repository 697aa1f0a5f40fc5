"""The metrics by name, with the numbers of images that their names stand for."""
import dataclasses
import difflib
from collections.abc import Callable
from typing import Any

Compute = Callable[[Any], dict[str, float]]  # MetricOptions -> values, each under the metric's name or a name that begins so


@dataclasses.dataclass(frozen=True)
class Metric:
    """num_gen: images to generate; None: none, or as many as the metric chooses. max_real: most real images; None: all.

    higher_is_better: of its first value. needs: 'detector', 'classes', 'test_data'. least_images: that it takes, generated and
    real ones each; of every class, if it needs classes. num_set_apart: so many real ones of every class more, without test data.
    wanted: the keywords that it calls the detector with.
    """

    name: str
    compute: Compute
    num_gen: int | None = None
    uses_reals: bool = True
    max_real: int | None = None
    higher_is_better: bool = False
    needs: tuple[str, ...] = ('detector',)
    least_images: int = 1
    num_set_apart: int = 0
    wanted: tuple[str, ...] = ('return_features',)

    def name_with_counts(self, num_gen: int | None, max_real: int | None, num_real: int | None = None) -> str:
        """The name, with the counts in it where they are not the standard ones: fid5k_full, kid50k_full_real1k, ppl2_wend_2k.

        num_real: the real images that were used; a limit that none of them met does not count.
        """
        name = self.name
        if num_gen != self.num_gen and self.num_gen is not None and num_gen is not None:
            standard = _thousands(self.num_gen)
            short = _thousands(num_gen)
            name = name.replace(standard, short, 1) if standard in name else f'{name}_{short}'
        if self.uses_reals and max_real is not None and max_real != self.max_real:
            used = max_real if num_real is None else num_real
            if used == max_real or (self.max_real is not None and self.max_real < used):
                name += f'_real{_thousands(used)}'
        return name


def _thousands(count: int) -> str:
    return f'{count / 1000:.12g}k'


_metrics: dict[str, Metric] = {}  # filled while the modules that define metrics are imported, as in NVLabs' interface


def register_metric(compute: Compute | None = None, **properties: Any) -> Any:
    """Decorator, with or without properties of Metric: the function becomes the metric of its name, and is returned."""
    def register(function: Compute) -> Compute:
        add_metric(Metric(function.__name__, function, **properties))
        return function

    return register if compute is None else register(compute)


def add_metric(metric: Metric) -> None:
    """Make a metric known under its name; one of the same name is replaced."""
    _metrics[metric.name] = metric


def metric_names() -> list[str]:
    """All names, in the order of registration."""
    return list(_metrics)


def find_metric(name: str) -> Metric:
    """The metric of this name; ValueError, with the nearest names, if there is none."""
    if name in _metrics:
        return _metrics[name]
    near = difflib.get_close_matches(name, _metrics, n=3, cutoff=0.5)
    advice = f'did you mean {" or ".join(near)}?' if near else f'choose from {", ".join(_metrics)}'
    raise ValueError(f'metric {name!r} is unknown: {advice}')
