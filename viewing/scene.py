"""What view.py shows, as functions of its controls.

Everything is drawn from ws as generate.py draws it, so that its commands give the same bytes.
"""

import copy
import dataclasses
import functools
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from exporting.baked import frozen_source
from generating.projected_w import ProjectedSampler, load_projected, save_projection
from generating.projection import NOISE_BUFFER, has_code
from generating.sampler import Sampler
from generating.walks import spherical_weights
from hyper_plugin.networks import HyperGenerator
from training.data.class_labels import escape
from training.data.image_grid import to_picture, to_pixels

MAX_GRID = 100  # classes in one grid
SAVED_W = 'w.npz'


@dataclasses.dataclass(frozen=True)
class Scene:
    """The controls of one picture.

    label: what --class or --label would be; '' for networks without labels, and for the own class of a projected w.
    position: of z on the arc from the first seed to the second, 0 to 1. resolutions: of the layers that take the w of the second
    seed. projected: a projected_w.npz in place of the first seed; then psi and position have no effect on it.
    """

    seed: int = 0
    label: str = ''
    psi: float = 0.7
    noise_mode: str = 'const'
    second_seed: int = 1
    position: float = 0
    resolutions: tuple[int, ...] = ()
    projected: str | None = None

    @property
    def has_command(self) -> bool:
        """Whether generate.py draws this picture without a file that holds its ws."""
        return not self.resolutions and (self.projected is not None or self.position == 0)


def class_text(shares: dict[str, float]) -> str:
    """What --class takes for shares of classes by name, '' if all are 0."""
    present = {name: share for name, share in shares.items() if share > 0}
    if len(present) == 1:
        return next(iter(present))
    return ','.join(f'{escape(name)}:{share:g}' for name, share in present.items())


def vector_text(numbers: list[float]) -> str:
    """What --label takes."""
    return ','.join(f'{number:g}' for number in numbers)


def copy_resolutions(num_ws: int) -> list[int]:
    """The resolution of the layers that read each copy of w: 4, 8, 8, 16, 16, ... The last is that of the image."""
    return [4 << min((index + 1) // 2, num_ws // 2 - 1) for index in range(num_ws)]


class OpenNetwork:
    """A snapshot's generator, and what it shows of scenes. Methods raise ValueError if the controls do not go together."""

    def __init__(self, network: str, sampler: Sampler):
        """network: how --network names it."""
        self.network, self.sampler = network, sampler
        self._projected: tuple[tuple[str, bool], ProjectedSampler] | None = None

    @functools.cached_property
    def source(self) -> Any:
        """The frozen source inside the network, on the same device; None for networks that hold none."""
        G = self.sampler.G
        return frozen_source(G).to(self.sampler.device) if isinstance(G, HyperGenerator) else None

    def draw(self, scene: Scene) -> Image.Image:
        """The picture."""
        return _picture(*self._prepare(scene))

    def draw_source(self, scene: Scene) -> Image.Image:
        """What the source draws for the same latent."""
        sampler, ws = self._prepare(scene)
        return _picture(dataclasses.replace(sampler, G=self.source), ws[:, :, :self.source.w_dim])

    def draw_classes(self, scene: Scene) -> list[tuple[Image.Image, str]]:
        """The same latent as every class, with the classes' names; the first MAX_GRID of them."""
        self.sampler.labels.check_classes('classes to draw')
        names = self.sampler.labels.class_names[:MAX_GRID]
        return [(self.draw(dataclasses.replace(scene, label=name)), name) for name in names]

    def save_w(self, path: Path, scene: Scene) -> None:
        """A projected_w.npz with which generate.py draws this picture."""
        sampler, ws = self._prepare(scene)
        maps = {name: noise for name, noise in sampler.G.synthesis.named_buffers() if name.endswith(NOISE_BUFFER)}
        save_projection(path, ws, maps=maps if scene.projected else {})

    def command(self, scene: Scene) -> str:
        """The generate.py command that draws the picture into the folder out; SAVED_W stands for a file of save_w()."""
        words = ['python', 'generate.py', f'--network={self.network}']
        if not scene.has_command:
            words.append(f'--projected-w={SAVED_W}')
        elif scene.projected is not None:
            words.append(f'--projected-w={Path(scene.projected).name}')
        else:
            words += [f'--seeds={scene.seed}', f'--trunc={scene.psi:g}']
        if scene.label and scene.has_command and (scene.projected is None or has_code(self.sampler.G)):
            words.append(f'--{"class" if self.sampler.labels.class_names else "label"}={scene.label}')
        if scene.noise_mode != 'const':
            words.append(f'--noise-mode={scene.noise_mode}')
        return shlex.join(words)

    @torch.inference_mode()
    def _prepare(self, scene: Scene) -> tuple[Sampler, torch.Tensor]:
        """The sampler with the scene's settings, and ws [1, num_ws, w_dim]."""
        sampler = first = dataclasses.replace(self.sampler, psi=scene.psi, noise_mode=scene.noise_mode)
        c = _label(sampler, scene)
        if scene.projected is not None:
            has_class = bool(scene.label) and has_code(sampler.G)
            projected = self._load(scene.projected, has_class)
            first = dataclasses.replace(projected, noise_mode=scene.noise_mode)
            ws = first.ws([0], c if has_class else first.default_label()[None])
        else:
            z = sampler.latents([scene.seed, scene.second_seed])
            ws = sampler.ws_of_latents((_arc(scene.position, z) @ z).astype(np.float32), c)
        taken = [index for index, res in enumerate(copy_resolutions(ws.shape[1])) if res in scene.resolutions]
        if taken:
            size = sampler.G.synthesis.w_dim  # what follows is the class's code, which stays
            ws[:, taken, :size] = sampler.ws([scene.second_seed], c)[:, taken, :size]
        return first, ws

    def _load(self, path: str, has_class: bool) -> ProjectedSampler:
        """As load_projected(), in a copy of the network, for the file may bring noise. Kept, as sliders ask for it again."""
        if self._projected is None or self._projected[0] != (path, has_class):
            apart = dataclasses.replace(self.sampler, G=copy.deepcopy(self.sampler.G))
            self._projected = (path, has_class), load_projected(apart, path, has_class)[0]
        return self._projected[1]


def _label(sampler: Sampler, scene: Scene) -> np.ndarray:
    """float32 [1, K]; zeros where the class of a projected w stays."""
    labels = sampler.labels
    if scene.label:
        return (labels.of_class if labels.class_names else labels.of_vector)(scene.label)[None]
    if labels.class_names and scene.projected is None:
        raise ValueError('All shares are 0: give one class a larger one')
    return np.zeros([1, labels.num_dims], np.float32)


def _arc(position: float, z: np.ndarray) -> np.ndarray:
    """Weights [1, 2] of z [2, z_dim]; the keys of walks.py lie on a closed curve, whose way back is of no use here."""
    return np.array([[0.0, 1.0]]) if position >= 1 else spherical_weights(np.array([position]), z)


def _picture(sampler: Sampler, ws: torch.Tensor) -> Image.Image:
    return to_picture(to_pixels(sampler.draw_ws(ws))[0])
