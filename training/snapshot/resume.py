"""Start networks from the weights of a snapshot, with a report on every tensor.

The networks may take other labels than the source: layers that read labels and do not fit keep their random weights.
"""

import dataclasses
import math
from typing import Any

import torch

import dnnlib
from torch_utils.misc import named_params_and_buffers
from torch_utils.named_tensors import CopyReport, fill_tensors
from torch_utils.ops import bias_act
from training.data.name_encoding import clean_names

from .reading import load_network_pkl
from .source_names import resolve_resume

# Tensors with one axis whose size follows from the labels: their number, whether there are any, or the size of their code.
LABEL_AXES = {'mapping.embed.weight': 1, 'mapping.fc0.weight': 1, 'b4.out.weight': 0, 'b4.out.bias': 0}


def copy_weights(source: torch.nn.Module, target: torch.nn.Module) -> CopyReport:
    """Fill every tensor of target that source has too, in the same shape.

    Where the two take other labels, tensors whose shape follows from that keep their values. ValueError that lists all
    others of another shape; nothing is copied then.
    """
    # A latent of another size would hide behind the labels' code, which enters the same layer.
    other_labels = source.c_dim != target.c_dim and getattr(source, 'z_dim', None) == getattr(target, 'z_dim', None)

    def check(report: CopyReport) -> None:
        wrong = [name for name, shapes in report.misfits.items() if not (other_labels and _follows_labels(name, *shapes))]
        if wrong:
            raise ValueError(f'{len(wrong)} tensors of {type(source).__name__} do not fit {type(target).__name__}: '
                             f'{report.describe_misfits(wrong)}')

    return fill_tensors(dict(named_params_and_buffers(target)), dict(named_params_and_buffers(source)), check)


@torch.no_grad()
def keep_logit(source: Any, target: Any) -> None:
    """Make the conditional discriminator `target` start with the logit of the unconditional `source` for every label.

        D(x, c) = <out(h), m(c)> / sqrt(d) = out_source(h),   m_0 = sqrt(d), out_0 = out_source, all other out_j = 0

    h: the features, which both have in common; m(c) [d]: the mapped label. Zero weights in the last layer that maps it make
    m_0 a constant. The other m_j are random functions of the label, so their out_j tell classes apart from the first step on;
    rows out_j that start random and cancel in the sum would be slower, because then no m_j may differ between classes.
    """
    last = getattr(target.mapping, f'fc{target.mapping.num_layers - 1}')
    root = math.sqrt(target.b4.cmap_dim)
    last.weight[0] = 0
    last.bias[0] = root / (last.bias_gain * bias_act.activation_funcs[last.activation].def_gain)
    constant = last(torch.zeros_like(last.weight[:1]))[0, 0]  # sqrt(d), unless the activation bends it
    for name in ('weight', 'bias'):
        rows = getattr(target.b4.out, name).zero_()
        rows[:1] = getattr(source.b4.out, name).to(rows.device) * (root / constant)


def check_source(resume_pkl: str | None) -> None:
    """ValueError if it is neither a file, a URL nor a known name. Nothing is read."""
    if resume_pkl:
        resolve_resume(resume_pkl)


def load_source(resume_pkl: str) -> dict[str, Any]:
    """The networks of a snapshot (path, URL or NVLabs name), and its class_names, [] if it has none.

    What it lacks of G and G_ema stands in for the other.
    """
    with dnnlib.util.open_url(resolve_resume(resume_pkl)) as file:
        data = load_network_pkl(file)
    present = {name: network for name in ('G', 'D', 'G_ema') if (network := data.get(name)) is not None}
    if 'G' not in present and 'G_ema' not in present:
        raise ValueError(f'{resume_pkl} holds no generator: expected G or G_ema; give a training snapshot')
    for name, network in present.items():
        kind = 'Discriminator' if name == 'D' else 'Generator'
        if type(network).__name__.removeprefix('Hyper') != kind:
            raise ValueError(f'{resume_pkl} holds a {type(network).__name__} as {name}: expected a {kind}; '
                             'give a training snapshot')
    num_labels = {name: network.c_dim for name, network in present.items()}
    if len(set(num_labels.values())) > 1:
        found = ', '.join(f'{name} {count}' for name, count in num_labels.items())
        raise ValueError(f'{resume_pkl} has networks of different label dimensions ({found}): give the snapshot as a run wrote '
                         'it, or leave its D out, to train a new one')
    return {**present, 'G': present.get('G', present.get('G_ema')), 'G_ema': present.get('G_ema', present.get('G')),
            'class_names': clean_names(data.get('class_names') or [])}


def resume_networks(resume_pkl: str, networks: dict[str, Any]) -> dict[str, CopyReport]:
    """Copy G, D and G_ema of a snapshot into `networks`; a D that it lacks is left as it is and not reported.

    What the source does not fill is the same in G_ema as in G. ValueError, one line, if the source does not fit.
    """
    source = load_source(resume_pkl)
    check_images(resume_pkl, source['G_ema'], networks['G_ema'].img_resolution, networks['G_ema'].img_channels)
    reports = {}
    for name, network in networks.items():
        if name in source:
            try:
                reports[name] = copy_weights(source[name], network)
            except ValueError as error:
                raise ValueError(f'{resume_pkl} does not fit the networks to be trained: {error}; '
                                 'choose the options that it was trained with (--cfg, --cbase, --cmax, ...)') from error
    if 'D' in reports and source['D'].c_dim == 0 and networks['D'].b4.cmap_dim > 0:
        keep_logit(source['D'], networks['D'])
        reports['D'] = dataclasses.replace(reports['D'], note='every class starts with the logit of the source')
    average = dict(named_params_and_buffers(networks['G_ema']))
    started = {name: average[name] for name in (*reports['G_ema'].new, *reports['G_ema'].misfits)}
    fill_tensors(started, dict(named_params_and_buffers(networks['G'])))
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


def _follows_labels(name: str, there: list[int], here: list[int]) -> bool:
    """Whether the shapes differ only in the axis that follows from the labels."""
    axis = LABEL_AXES.get(name)
    return axis is not None and there[:axis] == here[:axis] and there[axis + 1:] == here[axis + 1:]
