"""Checks that the networks of a snapshot can run: finite weights, and settings that their layers know."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dnnlib.errors import listed
from torch_utils import misc
from torch_utils.ops import bias_act


def check_finite(field: str, network: torch.nn.Module) -> None:
    """ValueError that names the tensors with NaN or infinity."""
    names = nonfinite(dict(misc.named_params_and_buffers(network)))
    if names:
        raise ValueError(f'{field} holds NaN or infinity in {listed(names)}: its training failed, or the file is damaged; use '
                         'an earlier snapshot')


def nonfinite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that have a value which is not finite."""
    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]


def check_settings(network: torch.nn.Module) -> None:
    """ValueError for a setting that the constructor accepts but that fails when the layer runs."""
    for part_name, part in network.named_modules():
        for setting, (is_right, expected) in SETTINGS.items():
            value = vars(part).get(setting)
            if value is not None and not is_right(value):
                raise ValueError(f'{part_name}.{setting} is {value!r:.100}; expected {expected}')


def _is_activation(value: Any) -> bool:
    return isinstance(value, str) and value in bias_act.activation_funcs


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(value >= 0)


def _is_share(value: Any) -> bool:
    return _is_positive(value) and bool(value <= 1)


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value > 0)


SETTINGS = dict(
    activation=(_is_activation, f'one of {", ".join(bias_act.activation_funcs)}'),
    conv_clamp=(_is_positive, 'None or a number, 0 or more'),
    w_avg_beta=(_is_share, 'None or a number from 0 to 1'),
    group_size=(_is_count, 'None or a whole number, 1 or more'),
)
