"""Writing snapshots, in the layout that NVLabs' tools read."""

import copy
import os
import pickle
from typing import Any

import torch

from dnnlib.files import whole_file


def save_network_pkl(path: str | os.PathLike[str], data: dict[str, Any]) -> None:
    """Write `data` as a snapshot. Modules go in as copies on the CPU, in evaluation mode, without gradients.

    Buffers that G and G_ema have in common, such as the frozen source of a hyper-modulated generator, are written once.
    The file appears under its name only when it is complete. Raises OSError.
    """
    data = {key: copy.deepcopy(value).cpu().eval().requires_grad_(False) if isinstance(value, torch.nn.Module) else value
            for key, value in data.items()}
    if all(isinstance(data.get(name), torch.nn.Module) for name in ('G', 'G_ema')):
        _share_equal_buffers(data['G_ema'], data['G'])
    with whole_file(path) as part, open(part, 'wb') as f:
        pickle.dump(data, f, protocol=4)    # what the Python 3.7 of stock checkouts reads
        f.flush()
        os.fsync(f.fileno())


def _share_equal_buffers(source: torch.nn.Module, target: torch.nn.Module) -> None:
    """Let target hold the tensors of source in place of its own where buffers of one name are equal: pickle writes them once."""
    buffers = dict(source.named_buffers())
    for path, part in target.named_modules():
        for name, buffer in part.named_buffers(recurse=False):
            other = buffers.get(f'{path}.{name}'.lstrip('.'))
            if other is not None and other.dtype == buffer.dtype and torch.equal(other, buffer):
                part.register_buffer(name, other, persistent=name not in part._non_persistent_buffers_set)
