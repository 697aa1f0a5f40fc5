"""What hyper-modulation costs at other sizes: the numbers against closed forms, and a run."""
import copy
import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import legacy
from benchmarks.speed import scale
from benchmarks.speed.networks import Setup, build

TINY = dict(channel_base=64, channel_max=8, code=8)


@pytest.mark.parametrize('rank', [0, 1, 3])
def test_sizes_are_those_of_the_closed_form(rank):
    size = scale.size_of(Setup('hyper', 8, 5, rank, **TINY))
    # Three layers of 8 to 8 channels. Of a code of 64 numbers, with a bias each: gamma and beta, full or as two factors; bias.
    outputs = 2 * (64 if rank == 0 else 2 * 8 * rank) + 8
    code = 5 * 64 + 4 * (64 * 64 + 64)  # table, four layers
    assert size.learned == 3 * outputs * (64 + 1) + code
    assert size.state == 12 * size.learned


def test_snapshots_grow_as_computed(tmp_path):
    """With the average's own weights, and the frozen source once."""
    in_file, computed = [], []
    for number, channels in enumerate((8, 64)):
        setup = Setup('hyper', 8, 5, rank=1, channel_base=8 * channels, channel_max=channels, code=8)
        G, D = build(setup)
        G_ema = copy.deepcopy(G)
        for param in G_ema.parameters():
            param.data += 1
        legacy.save_network_pkl(tmp_path / f'{number}.pkl', dict(G=G, D=D, G_ema=G_ema))
        in_file.append((tmp_path / f'{number}.pkl').stat().st_size)
        computed.append(scale.size_of(setup).snapshot)
    assert in_file[1] - in_file[0] == pytest.approx(computed[1] - computed[0], rel=0.001)


def test_a_run_writes_numbers_tables_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, 'RESOLUTIONS', (32, 64))
    monkeypatch.setattr(scale, 'CLASSES', (2, 3))
    monkeypatch.setattr(scale, 'BATCHES', (1, 4))
    monkeypatch.setattr(scale, 'seconds_per_image', lambda setup, batch: batch / 100)
    monkeypatch.setattr(scale, 'seconds_at_random', lambda setup, batch: setup.classes / 100)
    args = ['--largest=32', f'--outdir={tmp_path}', f'--picture={tmp_path / "scale.png"}']
    done = CliRunner().invoke(scale.main, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / 'scale.json').read_text())
    first, second = found['resolutions']
    assert first['seconds'] == 0.04 and first['is_measured'] and not second['is_measured']
    assert second['seconds'] == pytest.approx(0.04 * second['gflop_per_image'] / first['gflop_per_image'])
    text = (tmp_path / 'scale.md').read_text()
    assert [entry['seconds'] for entry in found['classes']] == [0.02, 0.03]
    assert '| full |' in text and f'{1000 * second["seconds"]:,.1f}*' in text
    with Image.open(tmp_path / 'scale.png') as picture:
        assert picture.width > 1000


class Labels(torch.nn.Module):
    def forward(self, z, c):
        return c
