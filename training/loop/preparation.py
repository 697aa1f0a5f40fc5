"""Built before the first step: torch's settings, networks, augmentation, and the stream of real images."""

import copy
import random
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dnnlib
from dnnlib.files import remove_parts
from torch_utils import collectives, misc
from torch_utils.allocator import keep_freed_memory
from torch_utils.ops import conv2d_gradfix, grid_sample_gradfix
from training.config import Arguments, DatasetConfig, TrainingConfig
from training.run.progress import Progress
from training.snapshot.resume import resume_networks

from .training_state import find_start, read_state

NUM_SEEDS = 2**32  # that NumPy takes
Networks = dict[str, Any]  # 'G', 'D', 'G_ema': modules with the attributes of training.networks


def set_up_torch(config: TrainingConfig, device: torch.device, rank: int) -> None:
    """Seed the global generators and set torch's options of this process."""
    seed = (config.random_seed * config.num_gpus + rank) % NUM_SEEDS
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    if device.type == 'cpu':
        keep_freed_memory()
    conv2d_gradfix.enabled = grid_sample_gradfix.enabled = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = config.allow_tf32
    torch.backends.cudnn.benchmark = config.cudnn_benchmark
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def open_dataset(config: DatasetConfig) -> Any:
    """The data set, to be closed."""
    return dnnlib.util.construct_class_by_name(**vars(config))


def build_networks(data: Any, config: TrainingConfig) -> tuple[Any, Any]:
    """-> G, D for the image size and labels of the data: its label_dim, resolution and num_channels."""
    sizes = dict(c_dim=data.label_dim, img_resolution=data.resolution, img_channels=data.num_channels)
    return (dnnlib.util.construct_class_by_name(**config.G_kwargs, **sizes),
            dnnlib.util.construct_class_by_name(**config.D_kwargs, **sizes))


def networks_to_train(data: Any, config: TrainingConfig, device: torch.device) -> Networks:
    """-> {'G', 'D', 'G_ema'} on the device."""
    G, D = (network.train().to(device) for network in build_networks(data, config))
    return dict(G=G, D=D, G_ema=copy.deepcopy(G).eval().requires_grad_(False))


def fill_networks(networks: Networks, resume_pkl: str, progress: Progress) -> None:
    """Start from a snapshot's weights, and print what was copied."""
    reports = resume_networks(resume_pkl, networks)
    for name in networks:
        progress.say(f'{name} from {resume_pkl}: {reports.get(name, "not in the file, starts from random weights")}')


def print_summaries(networks: Networks, num_images: int, device: torch.device) -> None:
    """Tables of the layers of G and D, from a pass of num_images images. G_ema stands for G, whose w_avg must not move."""
    G, D = networks['G_ema'], networks['D']
    z = torch.zeros([num_images, G.z_dim], device=device)
    c = torch.zeros([num_images, G.c_dim], device=device)
    with torch.no_grad():
        images = misc.print_module_summary(G, [z, c])
        misc.print_module_summary(D, [images, c])


def build_augment_pipe(augment_kwargs: Arguments | None, augment_p: float, device: torch.device) -> Any:
    """The augmentation module with its probability set, or None."""
    if augment_kwargs is None:
        return None
    pipe = dnnlib.util.construct_class_by_name(**augment_kwargs).train().requires_grad_(False).to(device)
    pipe.p.copy_(torch.as_tensor(augment_p))
    return pipe


def build_loss(config: TrainingConfig, G: Any, D: Any, augment_pipe: Any, device: torch.device) -> Any:
    """The loss of these networks."""
    return dnnlib.util.construct_class_by_name(device=device, G_mapping=G.mapping, G_synthesis=G.synthesis, D=D,
                                               augment_pipe=augment_pipe, **config.loss_kwargs)


def real_batches(
    dataset: Any, batch: int, seed: int, rank: int, start: int, loader_kwargs: dict[str, Any], device: torch.device
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """Endless batches of one process: images float [N, C, H, W] in [-1, 1], labels float [N, label_dim].

    start: images that all processes together have seen before. Close it to end the processes that load images.
    """
    sampler = misc.InfiniteSampler(dataset, rank=rank, num_replicas=collectives.num_processes(), seed=seed, start=start)
    # With a generator of its own the loader leaves the global one, from which training draws, alone.
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch, sampler=sampler, worker_init_fn=leave_to_parent,
                                         generator=torch.Generator(), **loader_kwargs)
    batches = iter(loader)
    try:
        for images, labels in batches:
            yield images.to(device).to(torch.float32) / 127.5 - 1, labels.to(device)
    finally:
        # Without this the traceback of an error keeps the iterator, and the interpreter waits at its end for processes that
        # leave signals to their parent. PyTorch has no public way.
        getattr(batches, '_shutdown_workers', lambda: None)()


def leave_to_parent(_worker: int) -> None:
    """Ctrl-C and SIGTERM reach all processes of a group: those that load images run on until training has saved."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def read_start(run_dir: Path, rank: int) -> dict[str, Any] | None:
    """The training state to continue from, None for a fresh start. Deletes what dead processes left half-written."""
    saved = None
    if rank == 0:
        remove_parts(run_dir)
        path = find_start(run_dir)
        saved = None if path is None else read_state(path)
    return collectives.first_value(saved)
