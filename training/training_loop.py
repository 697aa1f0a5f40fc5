"""The training loop of StyleGAN2-ADA (Karras et al. 2020, arXiv:2006.06676).

Networks and loss are built by class name. Parameters that require gradients are trained; everything else, buffers included, is
left to the networks. With several processes each one takes an equal share of every batch. If the run directory holds a training
state, training continues from it exactly.
"""

import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_utils import collectives, training_stats
from training.config import TrainingConfig
from training.loop.averaging import ema_beta, next_augment_p, rate_factor, set_rates, update_ema
from training.loop.cond_ramp import fade_labels, mean_label, ramp_strength
from training.loop.diversity import DiversityAlarm
from training.loop.optimizer_phases import Phase, begin_phase, finish_phase, make_phases
from training.loop.preparation import (
    build_augment_pipe,
    build_loss,
    fill_networks,
    networks_to_train,
    open_dataset,
    print_summaries,
    read_start,
    real_batches,
    set_up_torch,
)
from training.loop.run_output import RefreshReport, RunOutput
from training.loop.sample_grid import choose_samples
from training.loop.training_state import TrainingState
from training.parallel.processes import average_buffers, copy_from_first_process
from training.parallel.stop_signals import StopSignals
from training.run.progress import Progress


def training_loop(
    run_dir: str | Path,
    config: TrainingConfig,
    *,
    rank: int = 0,
    refresh_report: RefreshReport = lambda run_dir, say: None,  # called when files of the run have changed
) -> bool:
    """Train and write everything into run_dir: pictures, statistics, network-snapshot-*.pkl and training-state-*.pt.

    Returns whether all images are done; SIGINT or SIGTERM end the loop early, with everything saved. FloatingPointError if
    a loss stays non-finite, OSError if the last state cannot be written.
    """
    run_dir, device = Path(run_dir), torch.device(config.device)
    set_up_torch(config, device, rank)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(StopSignals(is_quiet=rank > 0))
        dataset = stack.enter_context(contextlib.closing(open_dataset(config.training_set_kwargs)))
        total_images = math.ceil(config.total_kimg * 1000 / config.batch_size) * config.batch_size
        saved = read_start(run_dir, rank)
        images_before = saved['images_done'] if saved else 0
        progress = stack.enter_context(contextlib.closing(Progress(run_dir, total_images, device, rank, images_before)))
        networks = networks_to_train(dataset, config, device)
        G, D, G_ema = networks['G'], networks['D'], networks['G_ema']
        if rank == 0 and saved is None and config.resume_pkl is not None:
            fill_networks(networks, config.resume_pkl, progress)
        copy_from_first_process(list(networks.values()))
        augment_pipe = build_augment_pipe(config.augment_kwargs, config.augment_p, device)
        loss = build_loss(config, G, D, augment_pipe, device)
        phases = (make_phases('G', G, vars(config.G_opt_kwargs), config.G_reg_interval)
                  + make_phases('D', D, vars(config.D_opt_kwargs), config.D_reg_interval))
        state = TrainingState(networks, phases, augment_pipe, loss, training_stats.Collector(regex='Loss/signs/real'), progress,
                              DiversityAlarm(dataset, G.z_dim, config.random_seed, device), device)
        labels_mean = mean_label(dataset).to(device) if config.cond_ramp else None

        def faded(c: torch.Tensor) -> torch.Tensor:
            return c if labels_mean is None else fade_labels(c, labels_mean, ramp_strength(state.images_done, config.cond_ramp))

        output = RunOutput(run_dir, config, state, dataset, choose_samples(dataset, G.z_dim, config.random_seed, device),
                           lambda z, c, **kwargs: G_ema(z, faded(c), **kwargs), rank, stop, refresh_report)
        if saved is None:
            if rank == 0:
                print_summaries(networks, config.batch_gpu, device)
            output.save_start()
        else:
            progress.say(f'Continuing at {images_before / 1000:g} thousand images')
        batches = stack.enter_context(contextlib.closing(real_batches(
            dataset, config.batch_size // collectives.num_processes(), config.random_seed, rank, images_before,
            vars(config.data_loader_kwargs), device)))
        progress.say(f'Training for {config.total_kimg:g} thousand images')
        if saved is not None:
            state.load_state_dict(saved, rank)  # last: the random numbers go on from here
            del saved
            output.save_missing_snapshot()

        done, stopping = state.images_done >= total_images, False
        while not done and not stopping:
            real_img, real_c = next(batches)
            real_c = faded(real_c)
            set_rates((phase.opt for phase in phases), rate_factor(state.images_done / total_images, config.lr_decay))
            for phase in phases:
                if state.batch_index % phase.interval == 0:
                    gen_z, gen_c = draw_latents(len(real_img), G.z_dim, dataset, device)
                    run_phase(phase, loss, real_img, real_c, gen_z, faded(gen_c), config.batch_gpu)
            average_buffers(G)
            update_ema(G_ema, G, ema_beta(config.batch_size, config.ema_kimg, state.images_done, config.ema_rampup))
            state.images_done += config.batch_size
            state.batch_index += 1
            if augment_pipe is not None and config.ada_target is not None and state.batch_index % config.ada_interval == 0:
                update_augment_p(augment_pipe, state.real_signs, config.ada_target, config.batch_size * config.ada_interval,
                                 config.ada_kimg)
            progress.advance(config.batch_size)

            done = state.images_done >= total_images
            stopping = collectives.any_process(stop.asked, device)
            if done or progress.tick_is_over(state.images_done, config.kimg_per_tick):
                output.end_tick(done, stopping)
            elif stopping:
                output.save_networks(last=True)
    return done


def draw_latents(num_images: int, z_dim: int, dataset: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Fresh z [N, z_dim], and labels [N, label_dim] of images drawn uniformly from the data set."""
    labels = dataset.labels(np.random.randint(len(dataset), size=num_images))
    return torch.randn([num_images, z_dim], device=device), torch.from_numpy(labels).to(device)


def run_phase(
    phase: Phase, loss: Any, real_img: torch.Tensor, real_c: torch.Tensor, gen_z: torch.Tensor, gen_c: torch.Tensor,
    batch_gpu: int,
) -> None:
    """One optimiser step on a process's share of a batch, batch_gpu images at a time."""
    rounds = list(zip(*(tensor.split(batch_gpu) for tensor in (real_img, real_c, gen_z, gen_c)), strict=True))
    begin_phase(phase)
    for number, (x, x_c, z, z_c) in enumerate(rounds, start=1):
        # The mean over rounds makes the gradient that of the whole batch.
        loss.accumulate_gradients(phase=phase.name, real_img=x, real_c=x_c, gen_z=z, gen_c=z_c, sync=number == len(rounds),
                                  gain=phase.interval / len(rounds))
    finish_phase(phase)


def update_augment_p(pipe: Any, real_signs: training_stats.Collector, target: float, num_images: int, ada_kimg: float) -> None:
    """Adaptive augmentation: adjust the pipe's p to the discriminator's output on real images."""
    real_signs.update()
    pipe.p.fill_(next_augment_p(float(pipe.p), real_signs['Loss/signs/real'], target, num_images, ada_kimg))
