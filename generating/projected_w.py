"""projected_w.npz: what a projection found, as other tools of this family write and read it (`w`), and what draws it again.

    w            float32 [N, num_ws, w_dim]
    label        float32 [K]
    maps/NAME    float32 [H, W], the noise of the layer of this name

Only `w` is needed: files of other tools have no more.
"""

import os
import zipfile
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from dnnlib.files import check_regular, whole_file

from .projection import has_code, with_code
from .sampler import Sampler

MAPS = 'maps/'
MAX_BYTES = 2**28  # of all arrays: small archives can hold huge ones


def save_projection(path: str | os.PathLike[str], ws: torch.Tensor, maps: dict[str, torch.Tensor], **more: torch.Tensor) -> None:
    """ws: [N, num_ws, w_dim]; maps: noise by the layer's name; more: other arrays. The file appears when it is whole."""
    tensors = dict(w=ws, **more, **{f'{MAPS}{name}': noise for name, noise in maps.items()})
    arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    with whole_file(path) as part, open(part, 'wb') as file:
        np.savez(file, **arrays)


@dataclass
class ProjectedSampler(Sampler):
    """Draws projected ws in place of seeds: number n is row n. Labels replace the class in them; NaN stands for their own."""

    word: ClassVar[str] = 'projected'
    projected: torch.Tensor | None = None  # [N, num_ws, w_dim]

    @torch.inference_mode()
    def ws(self, seeds: list[int], labels: np.ndarray) -> torch.Tensor:
        assert self.projected is not None
        ws, c = self.projected[seeds], torch.from_numpy(labels).to(self.device)
        if not has_code(self.G):
            return ws
        own = c.isnan().any(dim=1)
        return torch.where(own[:, None, None], ws, with_code(self.G, ws, c))

    def draw(self, seeds: list[int], labels: np.ndarray) -> torch.Tensor:
        return self.draw_ws(self.ws(seeds, labels))

    def latents(self, seeds: list[int]) -> np.ndarray:
        raise ValueError('projected w have no z: take --curve=cubic')

    def default_label(self) -> np.ndarray:
        return np.full(self.labels.num_dims, np.nan, np.float32)


def load_projected(sampler: Sampler, path: str, has_class: bool) -> tuple[ProjectedSampler, list[int]]:
    """A sampler of the ws in the file, and their numbers. has_class: whether labels will replace their own class.

    ValueError or OSError for a file that holds no w for this network, and for classes in networks that keep them in w itself.
    """
    G = sampler.G
    if has_class and sampler.labels.num_dims and not has_code(G):
        raise ValueError('the class is a part of w itself in this network, which train_hyper.py did not make: a projected w can '
                         'be drawn as it is, without --class, --label, --grid, --interpolate and --walk=class')
    arrays = _read(path)
    ws = torch.from_numpy(arrays['w']).to(sampler.device)
    if has_code(G) and has_class and ws.shape[2] == G.synthesis.w_dim:
        ws = torch.nn.functional.pad(ws, (0, G.w_dim - G.synthesis.w_dim))  # of the source model: its code is replaced
    if ws.shape[1:] != (G.num_ws, G.w_dim):
        raise ValueError(f'{path}: w has the shape {list(ws.shape)}, expected {[len(ws), G.num_ws, G.w_dim]}: take the network '
                         'that it was made with')
    _use_maps(G, {name.removeprefix(MAPS): noise for name, noise in arrays.items() if name.startswith(MAPS)})
    values: dict[str, Any] = {name: getattr(sampler, name) for name in ('G', 'labels', 'device', 'psi', 'noise_mode', 'batch')}
    return ProjectedSampler(**values, projected=ws), list(range(len(ws)))


def _read(path: str) -> dict[str, np.ndarray]:
    """Arrays by name, `w` float32 [N, L, D], all finite."""
    check_regular(path)
    with open(path, 'rb') as file:
        try:
            if sum(record.file_size for record in zipfile.ZipFile(file).infolist()) > MAX_BYTES:
                raise ValueError(f'its arrays have more than the limit of {MAX_BYTES:,} bytes')
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: np.asarray(archive[name]) for name in archive.files if name == 'w' or name.startswith(MAPS)}
        except Exception as error:  # damaged headers let numpy raise almost anything
            raise ValueError(f'{path} is no .npz file of project.py ({str(error) or type(error).__name__}): give its '
                             'projected_w.npz') from error
    w = arrays.get('w')
    if w is None or w.ndim != 3 or len(w) == 0:
        found = 'no w' if w is None else f'a w of shape {list(w.shape)}'
        raise ValueError(f'{path} has {found}, expected w of shape [N, num_ws, w_dim]: give a projected_w.npz')
    with np.errstate(over='ignore'):  # numbers too large for float32 become infinite
        arrays = {name: array.astype(np.float32) if array.dtype.kind == 'f' else array for name, array in arrays.items()}
    if any(array.dtype.kind != 'f' or not np.isfinite(array).all() for array in arrays.values()):
        raise ValueError(f'{path} holds values that are no finite numbers: project the picture again')
    return arrays


def _use_maps(G: Any, maps: dict[str, np.ndarray]) -> None:
    """Put the noise into the layers that have such a map; others keep theirs."""
    for name, buffer in G.synthesis.named_buffers():
        if name in maps and maps[name].shape == tuple(buffer.shape):
            buffer.copy_(torch.from_numpy(maps[name]))
