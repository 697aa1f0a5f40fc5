"""Reading snapshots, safely by default.

A snapshot is a pickle of a dict with G, D, G_ema, augment_pipe, training_set_kwargs and keys of our own. Its networks are stored
in the form of `torch_utils.persistence`: class name, program text, attributes. By default, no code from the file runs:
`torch_utils.pickles.safe_pickle` reads it, a network whose class is known by name is built from our own class with the
constructor arguments that the file records, and every tensor is then copied by name. Attributes that follow from the arguments
are not read. Networks written by stylegan2-ada-pytorch and the StyleGAN2 ones of stylegan3 are known.
"""
import io
import os
import pickle
from typing import Any, BinaryIO

import torch

import dnnlib
from dnnlib.errors import one_line
from torch_utils import misc
from torch_utils.pickles import pickle_reader, safe_pickle, saved_module, weights_file

from . import dialects, soundness
from .file_kinds import TENSORFLOW, check_kind_of_file, tensorflow_era
from .known_classes import KNOWN_CLASSES, MAX_NETWORKS, handler_of

_TRUST = 'if you trust its author, run the code in it with generate.py --trust-pickle or load_network_pkl(f, trust=True)'


def open_snapshot(source: str, trust: bool = False) -> dict[str, Any]:
    """load_network_pkl() of a path or URL."""
    with dnnlib.util.open_url(source) as file:
        return load_network_pkl(file, trust=trust)


def load_network_pkl(f: BinaryIO | str | os.PathLike[str], force_fp16: bool = False, trust: bool = False) -> dict[str, Any]:
    """Read a snapshot, a pickle or a safetensors file, from a file open for bytes, or from a path.

    Returns a dict with at least G, D, G_ema, augment_pipe, training_set_kwargs (None where the file has none; G_ema is always
    there), networks on the CPU, in evaluation mode, without gradients. `force_fp16` rebuilds the networks with half precision at
    the four highest resolutions. `trust` runs the code in the file, as unknown classes need; only for files from people you
    trust. Raises ValueError in one line, OSError.
    """
    if isinstance(f, (str, os.PathLike)):
        with open(f, 'rb') as opened:
            return load_network_pkl(opened, force_fp16, trust)
    name = getattr(f, 'name', None)
    try:
        data = _fields(f.read(), trust)     # what was read is let go of before any network is built
        _check_fields(data)
        for key, value in data.items():
            if isinstance(value, saved_module.SavedModule):
                data[key] = _rebuild(key, value, force_fp16)
            elif isinstance(value, torch.nn.Module):
                data[key] = _with_fp16(value) if force_fp16 and key in ('G', 'D', 'G_ema') else value
            if isinstance(data[key], torch.nn.Module):
                soundness.check_finite(key, data[key])
                data[key].cpu().eval().requires_grad_(False)
    except ValueError as err:
        raise ValueError(f'{name if isinstance(name, str) else "network pickle"}: {one_line(err)}') from err
    return {**dict.fromkeys(('G', 'D', 'G_ema', 'augment_pipe', 'training_set_kwargs')), **data}


# --- from bytes to fields ---

def _fields(content: bytes, trust: bool) -> Any:
    if weights_file.is_weights_file(content):   # holds no code, to be trusted or not
        return weights_file.read_fields(content)
    return _execute(content) if trust else _read(content)


def _read(content: bytes) -> Any:
    """The pickle's value, with a saved_module.SavedModule for every network and layer; runs nothing."""
    check_kind_of_file(content)
    try:
        return safe_pickle.load(io.BytesIO(content), handler_of)
    except pickle_reader.ForbiddenGlobal as err:
        if err.name.startswith(TENSORFLOW):
            raise tensorflow_era() from err
        raise ValueError(f'it refers to {err.name!r}, which network pickles do not need: not loaded; {_TRUST}') from err
    except ValueError as err:
        raise ValueError(f'not a readable network pickle, truncated or damaged ({_first_line(err)}); download the file '
                         'again') from err


def _execute(content: bytes) -> Any:
    """The pickle's value by plain unpickling, which runs code from the file."""
    check_kind_of_file(content)
    try:
        return pickle.loads(content)
    except Exception as err:    # the code in the file may raise anything
        if b'dnnlib.tflib' in content:
            raise tensorflow_era() from err
        raise ValueError(f'loading failed: {type(err).__name__}: {_first_line(err)}') from err


def _check_fields(data: Any) -> None:
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        kind = data.class_name if isinstance(data, saved_module.SavedModule) else type(data).__name__
        raise ValueError(f'a pickled {kind}; expected a dict with G, D and G_ema')
    if sum(isinstance(value, saved_module.SavedModule) for value in data.values()) > MAX_NETWORKS:
        raise ValueError(f'more than {MAX_NETWORKS} networks; expected G, D, G_ema and augment_pipe')
    if not isinstance(data.get('training_set_kwargs', {}), (dict, type(None))):
        raise ValueError(f'training_set_kwargs is of type {type(data["training_set_kwargs"]).__name__}, expected a dict')
    for key in ('G', 'D', 'G_ema', 'augment_pipe'):
        value = data.get(key)
        if not isinstance(value, (saved_module.SavedModule, torch.nn.Module)) and (value is not None or key == 'G_ema'):
            raise ValueError(f'{key} is of type {type(value).__name__}, not a network; found the keys {sorted(data)}')


def _first_line(err: Exception) -> str:
    return (str(err).splitlines() or ['no message'])[0]


# --- from descriptions to networks ---

def _rebuild(field: str, saved: saved_module.SavedModule, force_fp16: bool) -> torch.nn.Module:
    """Our own network for a description: same constructor arguments, same tensors."""
    if saved.class_name not in KNOWN_CLASSES:
        raise ValueError(f'{field} is of the unknown class {saved.class_name!r}; {_TRUST}')
    construct = dnnlib.util.get_obj_by_name(KNOWN_CLASSES[saved.class_name])
    args, kwargs = saved.state.get('_init_args', ()), saved.state.get('_init_kwargs', {})
    if not isinstance(args, tuple) or not isinstance(kwargs, dict):
        raise ValueError(f'{field} lacks the arguments of its constructor')
    try:
        dialects.check_kind(saved)
        kwargs = dialects.our_arguments(saved, args, kwargs, force_fp16 and field in ('G', 'D', 'G_ema'))
        network = saved_module.build(saved, construct, *args, **kwargs)
        soundness.check_settings(network)
        return network
    except ValueError as err:
        raise ValueError(f'{field}, a {saved.class_name}: {_first_line(err)}; {_TRUST}') from err
    except Exception as err:    # a constructor given arguments from elsewhere may raise anything
        raise ValueError(f'{field}: our {saved.class_name} cannot be built with the arguments in the file '
                         f'({type(err).__name__}: {_first_line(err)}); {_TRUST}') from err


def _with_fp16(network: Any) -> torch.nn.Module:
    """A persistent network of any class, rebuilt with half precision at the highest resolutions."""
    try:
        rebuilt = type(network)(*network.init_args, **dialects.with_fp16_kwargs(type(network).__name__, network.init_kwargs))
        misc.copy_params_and_buffers(network, rebuilt, require_all=True)
    except Exception as err:    # it is a class of anybody's
        raise ValueError(f'{type(network).__name__} cannot be rebuilt with half precision ({type(err).__name__}: '
                         f'{_first_line(err)}); load it without') from err
    return rebuilt
