"""Checks that the networks of a snapshot can run: finite weights, and settings that their layers know."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch

from dnnlib.errors import listed
from dnnlib.schema import Range, check
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
        for setting, kind in SETTINGS.items():
            value = vars(part).get(setting)
            if value is not None:
                check(value.item() if isinstance(value, np.generic) else value, kind, f'{part_name}.{setting}')


SETTINGS: dict[str, Any] = dict(
    activation=Literal[tuple(bias_act.activation_funcs)],
    conv_clamp=Annotated[float, Range(0)] | None,
    w_avg_beta=Annotated[float, Range(0, 1)] | None,
    group_size=Annotated[int, Range(1)] | None,
)
