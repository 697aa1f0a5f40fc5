"""commands/transfer.py: what the plan decides by itself."""
import torch

from commands import transfer
from commands.transfer_options import TransferOptions
from hyper_plugin.networks import HyperGenerator
from training.networks import Generator


def source(resolution, **sizes):
    """A generator with shapes but without memory."""
    with torch.device('meta'):
        return Generator(z_dim=512, c_dim=0, w_dim=512, img_resolution=resolution, img_channels=3, synthesis_kwargs=sizes)


def full_weights(resolution, **sizes):
    """Weights of the full hypernetworks of kernels, counted in the network itself."""
    with torch.device('meta'):
        G = HyperGenerator(z_dim=512, c_dim=2, w_dim=512, img_resolution=resolution, img_channels=3, synthesis_kwargs=sizes,
                           code_dim=64, rank=0)
    return sum(tensor.numel() for name, tensor in G.named_parameters() if name.endswith('full.weight'))


def test_auto_is_full_only_for_small_sources():
    assert transfer.choose_rank(TransferOptions(), source(32, channel_base=1024, channel_max=64)) == 0
    assert transfer.choose_rank(TransferOptions(), source(64, channel_base=8192, channel_max=128)) == 0
    assert full_weights(256, channel_base=16384, channel_max=512) > 200e6
    assert transfer.choose_rank(TransferOptions(), source(256, channel_base=16384, channel_max=512)) == 16
    assert transfer.choose_rank(TransferOptions(), source(32)) == 16  # 512 channels


def test_the_limit_counts_the_weights_of_full_hypernetworks(monkeypatch):
    sizes = dict(channel_base=512, channel_max=32)
    for limit, rank in ((full_weights(16, **sizes), 0), (full_weights(16, **sizes) - 1, 16)):
        monkeypatch.setattr(transfer, 'FULL_WEIGHTS', limit)
        assert transfer.choose_rank(TransferOptions(), source(16, **sizes)) == rank


def test_a_rank_that_is_asked_for_is_taken():
    for rank in (0, 3):
        assert transfer.choose_rank(TransferOptions(hyper_rank=rank), source(256)) == rank
