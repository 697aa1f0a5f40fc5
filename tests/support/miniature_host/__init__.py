"""A small host codebase: packages with the public names of an NVLabs checkout, made of this project's own code.

The texts differ from ours by a line, so that program text in a snapshot is executed there and not taken for the host's own.
In the layout of stylegan3 the networks have that dialect: synthesis arguments one by one, other defaults, `update_emas`.
What breaks stock code under a current PyTorch is broken here too.
"""
import os
import subprocess
from pathlib import Path

from tests.conftest import REPO
from tests.support.warm_python import warm_python

LAYOUTS = ('stylegan2-ada-pytorch', 'stylegan3')
FILES = Path(__file__).parent / 'files'
COPIED = {'dnnlib': ['__init__', 'archives', 'errors', 'files', 'hub', 'urls', 'util'],
          'torch_utils': ['__init__', 'collectives', 'custom_ops', 'misc', 'module_summary', 'named_tensors', 'persistence',
                         'training_stats'],
          'torch_utils/ops': ['__init__', 'bias_act', 'conv2d_resample', 'fma', 'upfirdn2d'],
          'torch_utils/ops/cpu': ['__init__', 'act', 'upfirdn2d'],
          'training': ['__init__', 'augment', 'dataset'],
          'training/data': ['__init__', 'class_labels', 'file_listing', 'folder_labels', 'image_convert', 'image_dataset',
                            'image_files', 'image_labels', 'left_out', 'name_encoding', 'picture_formats']}

# The version of PyTorch is asked of a module that is gone.
GONE = """import torch
from pkg_resources import parse_version

known = parse_version(torch.__version__) < parse_version('1.11.0a')
"""

STYLEGAN3 = [
    ('skip_w_avg_update: bool = False', 'update_emas: bool = False'),
    ('and not skip_w_avg_update', 'and update_emas'),
    ('fused_modconv: bool | None = None, **layer_kwargs',
     'fused_modconv: bool | None = None, update_emas: bool = False, **layer_kwargs'),
    ('synthesis_kwargs: dict[str, Any] = {}):  # noqa: B006', '**synthesis_kwargs: Any):'),
    ("""truncation_cutoff: int | None = None,
                **synthesis_kwargs: Any) -> torch.Tensor:
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)""",
     """truncation_cutoff: int | None = None,
                update_emas: bool = False, **synthesis_kwargs: Any) -> torch.Tensor:
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff, update_emas)"""),
    ("""                 num_fp16_res: int = 0, **block_kwargs""", """                 num_fp16_res: int = 4, **block_kwargs"""),
    ("""resample_filter: list[int] = FIR, conv_clamp: float | None = None,
                 use_fp16: bool = False, fp16_channels_last: bool = False, half_type: str = 'float16', **layer_kwargs""",
     """resample_filter: list[int] = FIR, conv_clamp: float | None = 256,
                 use_fp16: bool = False, fp16_channels_last: bool = False, half_type: str = 'float16', **layer_kwargs"""),
    ('channel_base: int = 32768, channel_max: int = 512, num_fp16_res: int = 0, conv_clamp: float | None = None,\n'
     '                 cmap_dim', 'channel_base: int = 32768, channel_max: int = 512, num_fp16_res: int = 4, '
     'conv_clamp: float | None = 256,\n                 cmap_dim'),
    ("""        x = None
        for res in self.block_resolutions:
            x, img = getattr(self, f'b{res}')(x, img, **block_kwargs)""",
     """        x = None
        block_kwargs.pop('update_emas', None)
        for res in self.block_resolutions:
            x, img = getattr(self, f'b{res}')(x, img, **block_kwargs)"""),
]


def make_host(path, layout):
    """Write the host below path; returns its folder."""
    for folder, names in COPIED.items():
        (path / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            write(path / folder / f'{name}.py', (REPO / folder / f'{name}.py').read_text())
    old = 'super().__init__()\n        self.size'
    change(path / 'torch_utils/misc.py', [(old, old.replace('__init__()', '__init__(dataset)'))])
    for name in ('conv2d_gradfix', 'grid_sample_gradfix', 'implementation'):
        write(path / 'torch_utils/ops' / f'{name}.py', (FILES / f'{name}.py').read_text())
    for name in ('legacy', 'generate', 'probe', 'train'):
        write(path / f'{name}.py', (FILES / f'{name}.py').read_text())
    write(path / 'training/training_loop.py', (FILES / 'training_loop.py').read_text())
    networks = path / 'training' / ('networks.py' if layout == LAYOUTS[0] else 'networks_stylegan2.py')
    write(networks, (REPO / 'training/networks.py').read_text())
    if layout == 'stylegan3':
        change(networks, STYLEGAN3)
        for name in ('conv2d_gradfix', 'grid_sample_gradfix'):
            change(path / 'torch_utils/ops' / f'{name}.py', [('import torch\n', GONE)])
        change(path / 'training/training_loop.py', [("LAYOUT = 'stylegan2-ada-pytorch'", "LAYOUT = 'stylegan3'")])
    return path


def write(path, text):
    path.write_text(f'{text}# part of a miniature host\n')


def change(path, pairs):
    """Replace texts, each of which must be there once."""
    text = path.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, f'{path.name} has {text.count(old)} times {old!r}'
        text = text.replace(old, new)
    path.write_text(text)


def run_in_host(host, *args):
    """Run Python in the host's folder, where nothing of this project can be imported; returns what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'} | dict(OMP_NUM_THREADS='1')
    check = 'import importlib.util as u, sys; sys.exit(bool(u.find_spec("hyper_plugin")))'
    for command in (['-c', check], args):
        result = subprocess.run([warm_python(), *map(str, command)], cwd=host, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr or 'this project can be imported there'
    return result.stdout
