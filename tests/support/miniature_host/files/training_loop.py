"""A training loop with the keyword names of the public ones; LAYOUT says whose loss and mapping dialect it speaks."""
import copy
import os
import pickle

import numpy as np
import PIL.Image
import torch

import dnnlib
import legacy
from torch_utils import misc

LAYOUT = 'stylegan2-ada-pytorch'


def print_summary(G, batch_size, device):
    """Runs the network, in training mode, on what may lie in memory."""
    z, c = (torch.empty([batch_size, size], device=device).fill_(torch.nan) for size in (G.z_dim, G.c_dim))
    misc.print_module_summary(G, [z, c])


def training_loop(
    *, D_kwargs, D_opt_kwargs, D_reg_interval, G_kwargs, G_opt_kwargs, G_reg_interval, ada_interval, ada_kimg, ada_target,
    augment_kwargs, augment_p, batch_gpu, batch_size, cudnn_benchmark, data_loader_kwargs, ema_kimg, ema_rampup,
    image_snapshot_ticks, kimg_per_tick, loss_kwargs, metrics, network_snapshot_ticks, num_gpus, random_seed, resume_pkl, run_dir,
    total_kimg, training_set_kwargs, abort_fn=None, progress_fn=None, rank=0,
):
    device = torch.device('cuda', rank)
    torch.manual_seed(random_seed)
    dataset = dnnlib.util.construct_class_by_name(**training_set_kwargs)
    sampler = misc.InfiniteSampler(dataset=dataset, rank=rank, num_replicas=num_gpus, seed=random_seed)
    loader = torch.utils.data.DataLoader(dataset=dataset, sampler=sampler, batch_size=batch_size, **data_loader_kwargs,
                                         multiprocessing_context='spawn' if data_loader_kwargs.get('num_workers') else None)
    batches = iter(loader)
    sizes = dict(c_dim=dataset.label_dim, img_resolution=dataset.resolution, img_channels=dataset.num_channels)
    G = dnnlib.util.construct_class_by_name(**G_kwargs, **sizes).train().requires_grad_(False).to(device)
    D = dnnlib.util.construct_class_by_name(**D_kwargs, **sizes).train().requires_grad_(False).to(device)
    G_ema = copy.deepcopy(G).eval()
    if resume_pkl is not None:
        with dnnlib.util.open_url(resume_pkl) as file:
            resumed = legacy.load_network_pkl(file)
        for name, module in [('G', G), ('D', D), ('G_ema', G_ema)]:
            misc.copy_params_and_buffers(resumed[name], module, require_all=False)
    augment_pipe = None
    if augment_kwargs is not None:
        augment_pipe = dnnlib.util.construct_class_by_name(**augment_kwargs).train().requires_grad_(False).to(device)
        augment_pipe.p.copy_(torch.as_tensor(max(augment_p, 0.5)))
    parts = dict(G_mapping=G.mapping, G_synthesis=G.synthesis) if LAYOUT == 'stylegan2-ada-pytorch' else dict(G=G)
    loss = dnnlib.util.construct_class_by_name(device=device, D=D, augment_pipe=augment_pipe, **parts, **loss_kwargs)
    phases = []
    for name, module, opt_kwargs, interval in [('G', G, G_opt_kwargs, G_reg_interval), ('D', D, D_opt_kwargs, D_reg_interval)]:
        opt = dnnlib.util.construct_class_by_name(module.parameters(), **opt_kwargs)
        both = [(f'{name}both', 1)] if interval is None else [(f'{name}main', 1), (f'{name}reg', 2)]
        phases += [dnnlib.EasyDict(name=phase, module=module, opt=opt, interval=every) for phase, every in both]
    print_summary(G, batch_gpu, device)
    watch = torch.cuda.Event(enable_timing=True)
    done, step = 0, 0
    while done < total_kimg * 1000:
        images, labels = next(batches)
        images, labels = images.to(device).to(torch.float32) / 127.5 - 1, labels.to(device)
        for phase in phases:
            if step % phase.interval:
                continue
            watch.record(torch.cuda.current_stream(device))
            z = torch.randn([batch_size, G.z_dim], device=device)
            c = torch.from_numpy(np.stack([dataset.get_label(i) for i in range(batch_size)])).pin_memory().to(device)
            phase.opt.zero_grad(set_to_none=True)
            phase.module.requires_grad_(True)
            own = dict(sync=True) if LAYOUT == 'stylegan2-ada-pytorch' else dict(cur_nimg=done)
            loss.accumulate_gradients(phase=phase.name, real_img=images, real_c=labels, gen_z=z, gen_c=c, gain=phase.interval,
                                      **own)
            phase.module.requires_grad_(False)
            phase.opt.step()
        with torch.no_grad():
            for averaged, now in zip(G_ema.parameters(), G.parameters()):  # noqa: B905
                averaged.copy_(now.lerp(averaged, 0.5))
            for averaged, now in zip(G_ema.buffers(), G.buffers()):  # noqa: B905
                averaged.copy_(now)
        done += batch_size
        step += 1
    image = G_ema(z=z, c=c, noise_mode='const').cpu().numpy()[0]
    pixels = (image.transpose(1, 2, 0) * 127.5 + 128).clip(0, 255).astype(np.uint8)
    mode, pixels = ('L', pixels[:, :, 0]) if pixels.shape[2] == 1 else ('RGB', pixels)
    PIL.Image.fromarray(pixels, mode).save(os.path.join(run_dir, 'fakes.png'))
    networks = {name: copy.deepcopy(module).eval().requires_grad_(False).cpu()
                for name, module in dict(G=G, D=D, G_ema=G_ema).items()}
    with open(os.path.join(run_dir, 'network-snapshot-000000.pkl'), 'wb') as file:
        pickle.dump(dict(networks, augment_pipe=augment_pipe, training_set_kwargs=dict(training_set_kwargs)), file)
    print(f'memory {torch.cuda.max_memory_allocated(device)}, metrics {metrics}, threads {torch.get_num_threads()}')
