"""Begins as the public scripts do: train.py DATA OUT RESUME GPUS; a process for each GPU, whose data loader spawns workers.

What every process has seen is written to OUT-RANK.json.
"""
import json
import os
import sys

import torch

import dnnlib
import legacy
from torch_utils import misc
from torch_utils.ops import conv2d_gradfix
from training import training_loop

try:
    from training import networks
except ImportError:
    from training import networks_stylegan2 as networks


class Seen:
    """A data set of this script, as pickles name it; the items tell what has happened in the worker."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        opt = torch.optim.Adam([torch.zeros(1)], betas=[0, 0.99])     # refused without a mend
        return self.images[index][0], os.getpid(), opt.defaults['betas'][0]


def subprocess_fn(rank, data, out, resume, gpus):
    if gpus > 1:
        torch.distributed.init_process_group('nccl', init_method=f'file://{out}.store', rank=rank, world_size=gpus)
    device = torch.device('cuda', rank)
    images = dnnlib.util.construct_class_by_name(class_name='training.dataset.ImageFolderDataset', path=data, use_labels=False)
    with dnnlib.util.open_url(resume) as file:
        resumed = legacy.load_network_pkl(file)['G']
    sizes = dict(channel_base=64, channel_max=6)
    G = networks.Generator(6, images.label_dim, 5, images.resolution, images.num_channels, mapping_kwargs=dict(num_layers=2),
                           **(sizes if networks.__name__.endswith('2') else dict(synthesis_kwargs=sizes)))
    misc.copy_params_and_buffers(resumed, G, require_all=False)
    training_loop.print_summary(G.train(), 2, device)
    loader = torch.utils.data.DataLoader(Seen(images), batch_size=2, num_workers=1, pin_memory=True)
    pixels, pids, betas = next(iter(loader))
    total = torch.ones([], device=device)
    if gpus > 1:
        torch.distributed.all_reduce(total)
    report = dict(shape=list(pixels.shape), is_worker=pids[0].item() != os.getpid(), beta=betas[0].item(), total=total.item(),
                  own=conv2d_gradfix.conv2d.__module__, w_avg=G.mapping.w_avg.tolist())
    with open(f'{out}-{rank}.json', 'w') as file:
        json.dump(report, file)


def main():
    data, out, resume, gpus = sys.argv[1:]
    torch.multiprocessing.set_start_method('spawn')
    if int(gpus) == 1:
        subprocess_fn(0, data, out, resume, 1)
    else:
        torch.multiprocessing.spawn(subprocess_fn, (data, out, resume, int(gpus)), nprocs=int(gpus))


if __name__ == '__main__':
    main()
