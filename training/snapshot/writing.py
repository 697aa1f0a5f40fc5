"""Writing snapshots, in the layout that NVLabs' tools read."""

import copy
import os
import pickle
from typing import Any

import torch

from dnnlib.files import whole_file


def save_network_pkl(path: str | os.PathLike[str], data: dict[str, Any]) -> None:
    """Write `data` as a snapshot. Modules go in as copies on the CPU, in evaluation mode, without gradients.

    The file appears under its name only when it is complete. Raises OSError.
    """
    data = {key: copy.deepcopy(value).cpu().eval().requires_grad_(False) if isinstance(value, torch.nn.Module) else value
            for key, value in data.items()}
    with whole_file(path) as part, open(part, 'wb') as f:
        pickle.dump(data, f, protocol=4)    # what the Python 3.7 of stock checkouts reads
        f.flush()
        os.fsync(f.fileno())
