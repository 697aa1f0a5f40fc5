"""Does with a snapshot what the host's tools do, and saves what comes out: probe.py PKL INPUTS.npz OUTPUTS.npz."""
import copy
import pickle
import sys

import numpy as np
import torch


def project(G, target, num_steps=3):
    """The projector's way with ws: one w, noise on it, repeated; noise buffers learn too."""
    w = G.mapping.w_avg.detach().reshape(1, 1, -1).clone().requires_grad_(True)
    planes = {name: plane for name, plane in G.synthesis.named_buffers() if 'noise_const' in name}
    for plane in planes.values():
        plane.requires_grad = True
    opt = torch.optim.Adam([w, *planes.values()], betas=(0.9, 0.999), lr=0.1)
    for _ in range(num_steps):
        image = G.synthesis((w + 0.01).repeat([1, G.mapping.num_ws, 1]), noise_mode='const')
        loss = (image - target).square().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
    return w.detach()


def use(G, D, z, c, other_c):
    """Outputs by name."""
    mapped = dict(z=z, c=c, truncation_psi=0.6, truncation_cutoff=3)
    ws, others = G.mapping(z, c), G.mapping(z.flip(0), other_c)
    mixed = ws.clone()
    mixed[:, 2:] = others[:, 2:]
    w_avg = G.mapping.w_avg
    out = dict(
        image=G(z, c, truncation_psi=0.7, noise_mode='const'),
        by_keyword=G(z=z, c=c, noise_mode='none', force_fp32=True),
        ws=ws,
        truncated=G.mapping(**mapped),
        by_hand=w_avg + 0.6 * (ws - w_avg),
        synthesis=G.synthesis(ws, noise_mode='const'),
        mixed=G.synthesis(mixed, noise_mode='const'),
        between=G.synthesis(ws=torch.cat([ws.lerp(others, 0.3), ws.lerp(others, 0.3 + 1e-4)]), noise_mode='const'),
    )
    if type(G).__name__ == 'HyperGenerator':
        out['mean_class'] = G.mapping(z, None)     # the projector names no class
    out['logits'] = D(out['image'], c)
    out['projected'] = project(copy.deepcopy(G).eval().requires_grad_(False), out['image'][:1])
    return {name: tensor.detach().numpy() for name, tensor in out.items()}


def main():
    with open(sys.argv[1], 'rb') as file:
        data = pickle.load(file)
    inputs = {name: torch.from_numpy(array) for name, array in np.load(sys.argv[2]).items()}
    G, D, pipe = data['G_ema'], data['D'], data['augment_pipe']
    again = pickle.loads(pickle.dumps(G))
    outputs = use(again, D, inputs['z'], inputs['c'], inputs['other_c'])
    outputs['augmented'] = pipe(torch.from_numpy(outputs['image']), debug_percentile=0.7).numpy()
    np.savez(sys.argv[3], **outputs)
    print(type(G).__name__, type(G).__module__)


if __name__ == '__main__':
    main()
