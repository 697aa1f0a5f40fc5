"""Weights of a snapshot into networks, with an account of what went where."""

import dataclasses
from typing import Any

import torch

import dnnlib
import legacy
from torch_utils import misc


@dataclasses.dataclass(frozen=True)
class CopyReport:
    """Names of tensors (parameters and buffers): in both, in the target only, in the source only."""

    copied: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f'{len(self.copied)} tensors copied, {len(self.new)} new, {len(self.unused)} not used'
        return text + _listing('new', self.new) + _listing('not used', self.unused)


def copy_weights(source: torch.nn.Module, target: torch.nn.Module) -> CopyReport:
    """Fill every tensor of target whose name source has too. ValueError that lists them if shapes differ."""
    ours = {name for name, _ in misc.named_params_and_buffers(target)}
    theirs = {name for name, _ in misc.named_params_and_buffers(source)}
    misc.copy_params_and_buffers(source, target, require_all=False)
    return CopyReport(copied=tuple(sorted(ours & theirs)), new=tuple(sorted(ours - theirs)), unused=tuple(sorted(theirs - ours)))


def load_source(resume_pkl: str) -> dict[str, Any]:
    """The networks of a snapshot (path, URL or NVLabs name), and its class_names, [] if it has none.

    What it lacks of G and G_ema stands in for the other.
    """
    with dnnlib.util.open_url(legacy.resolve_resume(resume_pkl)) as file:
        data = legacy.load_network_pkl(file)
    present = {name: network for name in ('G', 'D', 'G_ema') if (network := data.get(name)) is not None}
    if 'G' not in present and 'G_ema' not in present:
        raise ValueError(f'{resume_pkl} holds no generator: expected G or G_ema; give a training snapshot')
    for name, network in present.items():
        kind = 'Discriminator' if name == 'D' else 'Generator'
        if type(network).__name__.removeprefix('Hyper') != kind:
            raise ValueError(f'{resume_pkl} holds a {type(network).__name__} as {name}: expected a {kind}; '
                             'give a training snapshot')
    return {**present, 'G': present.get('G', present.get('G_ema')), 'G_ema': present.get('G_ema', present.get('G')),
            'class_names': data.get('class_names') or []}


def resume_networks(resume_pkl: str, networks: dict[str, Any]) -> dict[str, CopyReport]:
    """Copy G, D and G_ema of a snapshot into `networks`; a D that it lacks is left as it is and not reported.

    ValueError, one line, if images or labels of the source do not fit.
    """
    source = load_source(resume_pkl)
    G_ema = networks['G_ema']
    check_images(resume_pkl, source['G_ema'], G_ema.img_resolution, G_ema.img_channels)
    reports = {}
    for name, network in networks.items():
        if name in source:
            try:
                reports[name] = copy_weights(source[name], network)
            except ValueError as error:
                raise ValueError(f'{resume_pkl} does not fit the networks to be trained: {error}; '
                                 'choose the options that it was trained with (--cfg, --cbase, --cmax, ...)') from error
    return reports


def check_images(resume_pkl: str, source: Any, resolution: int, num_channels: int) -> None:
    """ValueError, with what to do, if the generator `source` makes images of another size or number of channels."""
    if source.img_resolution != resolution:
        raise ValueError(f'{resume_pkl} makes images of {source.img_resolution}x{source.img_resolution} pixels, the data has '
                         f'{resolution}x{resolution}: choose another source, or resize the data with dataset_tool.py '
                         f'--resolution={source.img_resolution}')
    if source.img_channels != num_channels:
        raise ValueError(f'{resume_pkl} makes images of {_channels(source.img_channels)}, the data has {_channels(num_channels)} '
                         '(1 is gray, 3 is colour): choose another source, or convert the data with dataset_tool.py '
                         f'--color={"gray" if source.img_channels == 1 else "rgb"}')


def _channels(count: int) -> str:
    return f'{count} channel{"" if count == 1 else "s"}'


def _listing(what: str, names: tuple[str, ...]) -> str:
    return f'; {what}: {", ".join(names[:6])}{" ..." if len(names) > 6 else ""}' if names else ''
