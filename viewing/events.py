"""What the page calls: values of its controls -> what its parts show."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from .networks import Networks
from .scene import SAVED_W, OpenNetwork, Scene, class_text, copy_resolutions, vector_text

NUM_SLIDERS = 64  # for numbers of a label, at most; others are 0
MAX_CLASSES = 12  # with a slider from the start; of more classes people choose
LARGEST_SEED = 2**32 - 1


def choice(opened: OpenNetwork) -> dict[str, Any]:
    """Arguments of the list of what has sliders: classes, all from the start if they are few, or all numbers of a vector."""
    labels = opened.sampler.labels
    numbers = [f'Number {number}' for number in range(1, labels.num_dims + 1)][:NUM_SLIDERS]
    names = labels.class_names or numbers
    return dict(choices=names, value=names if len(names) <= MAX_CLASSES or not labels.class_names else names[:1],
                visible=len(labels.class_names) > MAX_CLASSES)


def slider(opened: OpenNetwork, name: str, value: float) -> dict[str, Any]:
    """Arguments of the slider for a class, or for a number of a label vector."""
    return dict(label=name, value=value, minimum=0 if opened.sampler.labels.class_names else -3, visible=True,
                maximum=1 if opened.sampler.labels.class_names else 3)


def resolutions(opened: OpenNetwork) -> list[tuple[str, int]]:
    """Choices of layers."""
    return [(f'{res}x{res}', res) for res in dict.fromkeys(copy_resolutions(opened.sampler.G.num_ws))]


class Events:
    """scene: names of the controls of a Scene. folder: for files.

    Values come in the order network, chosen names, scene, sliders. Calls come from several threads, and wait for each other.
    """

    def __init__(self, networks: Networks, scene: list[str], folder: str):
        self.networks, self.scene, self.folder = networks, scene, folder
        self.lock = threading.Lock()

    def draw(self, *values: Any) -> tuple[Any, Any, str]:
        """values: as above, and whether to show the source -> picture, the source's picture, command."""
        with self._turn():
            opened, scene = self._read(*values[:-1])
            beside = values[-1] and opened.source is not None
            source = gr.update(value=opened.draw_source(scene) if beside else None, visible=beside)
            return opened.draw(scene), source, opened.command(scene)

    def draw_classes(self, *values: Any) -> Any:
        """-> the gallery."""
        with self._turn():
            opened, scene = self._read(*values)
            return gr.update(value=opened.draw_classes(scene), visible=True)

    def save_w(self, *values: Any) -> Any:
        """-> the file."""
        with self._turn():
            opened, scene = self._read(*values)
            path = Path(tempfile.mkdtemp(dir=self.folder), SAVED_W)
            opened.save_w(path, scene)
            return gr.update(value=str(path), visible=True)

    def change_network(self, name: str) -> list[Any]:
        """-> list of classes, layers, whether a source can be shown, whether classes can be drawn."""
        with self._turn():
            opened = self.networks.open(name)
        has_classes = bool(opened.sampler.labels.class_names)
        return [gr.update(**choice(opened)), gr.update(choices=resolutions(opened), value=[]),
                gr.update(visible=opened.source is not None), gr.update(visible=has_classes)]

    def relabel(self, name: str, chosen: list[str], labelled: list[str], *values: float) -> list[Any]:
        """labelled: the names on the sliders before -> chosen, and the sliders. A name keeps its value."""
        with self._turn():
            opened = self.networks.open(name)
        before = dict(zip(labelled, values, strict=False))
        after = [before.get(name, 0) for name in chosen]
        if opened.sampler.labels.class_names and after and not any(after):
            after[0] = 1
        hidden = [gr.update(visible=False)] * (NUM_SLIDERS - len(chosen))
        return [chosen, *(gr.update(**slider(opened, name, value)) for name, value in zip(chosen, after, strict=True)), *hidden]

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One call at a time. Wrong input becomes a note on the page."""
        try:
            with self.lock:
                yield
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _read(self, name: str, chosen: list[str], *values: Any) -> tuple[OpenNetwork, Scene]:
        opened = self.networks.open(name)
        fields = dict(zip(self.scene, values, strict=False))
        shares = dict(zip(chosen, values[len(self.scene):], strict=False))
        labels = opened.sampler.labels
        if labels.class_names:
            label = class_text({name: share for name, share in shares.items() if name in labels.class_names})
        else:
            label = vector_text([*shares.values(), *[0] * labels.num_dims][:labels.num_dims])
        seeds = {name: int(fields[name] or 0) for name in ('seed', 'second_seed')}  # None while the field is empty
        return opened, Scene(**{**fields, **seeds, 'resolutions': tuple(fields['resolutions'])}, label=label)
