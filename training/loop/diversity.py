"""The alarm for class collapse: does the generator still show the variety of each class?

    ratio = spread(generated) / spread(real),    spread as in metrics/features/spread.py

A generator that draws one picture for every z has a ratio near 0, while its losses may look healthy.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from metrics.features.spread import reduce_images, spread
from training.data.class_labels import list_names

NUM_REAL = 64  # images of a class, at most
NUM_FAKE = 8
CLASSES_PER_TICK = 32  # at most; more take turns
ALARM_SHARE = 0.1  # of the ratio at the start
WHOLE_SET = 'all'  # stands for the class of data without classes
ADVICE = ('try stronger augmentation (--aug=ada with a lower --target), a higher --gamma, a lower --glr, or an earlier '
          'snapshot')


class DiversityAlarm:
    """Measures the ratio of every class, and warns where it falls below a tenth of its first value.

    dataset: with the attributes of training.dataset.Dataset. seed chooses the latents and the real images; the global random
    states are left alone. Classes with fewer than two images, or with equal ones, have no spread and are not measured. Real
    images are read when a class is first measured.
    """

    def __init__(self, dataset: Any, z_dim: int, seed: int, device: torch.device):
        self._dataset = dataset
        self._device = device
        self._by_class = bool(dataset.has_labels and dataset.has_onehot_labels)
        rng = np.random.default_rng(seed)
        groups = self._group(rng.permutation(len(dataset)))
        self._images = {name: indices for name, indices in groups.items() if len(indices) >= 2}
        self._z = torch.from_numpy(rng.standard_normal([NUM_FAKE, z_dim], dtype=np.float32))
        self._real: dict[str, float] = {}
        self._start: dict[str, float] = {}
        self._warned: list[str] = []

    @torch.no_grad()
    def measure(self, G_ema: Callable[..., torch.Tensor], tick: int, batch: int) -> dict[str, float]:
        """Ratios of the classes due at this tick, by name.

        G_ema(z, c, noise_mode='const') -> images [n, C, H, W], n <= batch.
        """
        names = [name for name in self._turn(tick) if self._real_spread(name) > 0]
        if not names:
            return {}
        z = self._z.repeat(len(names), 1).to(self._device)
        c = torch.cat([self._labels(name) for name in names]).to(self._device)
        passes = zip(z.split(batch), c.split(batch), strict=True)
        fakes = torch.cat([reduce_images(G_ema(z, c, noise_mode='const').clamp(-1, 1)) for z, c in passes])
        ratios = {name: spread(images) / self._real[name] for name, images in zip(names, fakes.split(NUM_FAKE), strict=True)}
        for name, ratio in ratios.items():
            if math.isfinite(ratio):
                self._start.setdefault(name, ratio)
        return ratios

    def warnings(self, ratios: dict[str, float]) -> list[str]:
        """A warning about the classes that have lost their variety since the last call; none if there are none.

        A class is named once, and again only after it had recovered.
        """
        fallen = [name for name, ratio in ratios.items() if ratio < ALARM_SHARE * self._start.get(name, 0.0)]
        new = [name for name in fallen if name not in self._warned]
        self._warned = [name for name in self._warned if name in fallen or name not in ratios] + new
        if not new:
            return []
        found = list_names([f'{self._describe(name)} ({ratios[name]:.1%}, at the start {self._start[name]:.0%})' for name in new])
        return ['generated images look more and more alike; their spread relative to real images fell below a tenth of its '
                f'first value for {found}; {ADVICE}']

    def state_dict(self) -> dict[str, Any]:
        """Plain values: the first ratios, and the classes that were warned of."""
        return dict(start=dict(self._start), warned=list(self._warned))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from state_dict() of a run on the same data."""
        self._start, self._warned = dict(state['start']), list(state['warned'])

    def _group(self, order: np.ndarray) -> dict[str, list[int]]:
        """{class name: indices of at most NUM_REAL images}, in the order given; of all classes that have images."""
        if not self._by_class:
            return {WHOLE_SET: order[:NUM_REAL].tolist()}
        names = self._dataset.class_names
        groups: dict[str, list[int]] = {name: [] for name in names}
        for index, label in zip(order.tolist(), self._dataset.classes()[order].tolist(), strict=True):
            group = groups[names[label]]
            if len(group) < NUM_REAL:
                group.append(index)
        return groups

    def _turn(self, tick: int) -> list[str]:
        """The classes to measure at this tick: all, or the next CLASSES_PER_TICK in turn."""
        names = list(self._images)
        if len(names) <= CLASSES_PER_TICK:
            return names
        first = tick * CLASSES_PER_TICK
        return [names[place % len(names)] for place in range(first, first + CLASSES_PER_TICK)]

    def _real_spread(self, name: str) -> float:
        if name not in self._real:
            images = (torch.from_numpy(self._dataset[index][0])[None] for index in self._images[name])
            self._real[name] = spread(torch.cat([reduce_images(image / 127.5 - 1) for image in images]))
        return self._real[name]

    def _labels(self, name: str) -> torch.Tensor:
        """float32 [NUM_FAKE, label_dim]: those of the first images that the spread of the real ones is taken from."""
        return torch.from_numpy(self._dataset.labels(np.resize(self._images[name], NUM_FAKE)))

    def _describe(self, name: str) -> str:
        return f'class {name}' if self._by_class else 'all images'


def statistic_of(name: str) -> str:
    """The name of a class's ratio in stats.jsonl; Diversity/min and Diversity/mean are taken over the classes."""
    return f'Diversity/class {name}' if name in ('min', 'mean') else f'Diversity/{name}'
