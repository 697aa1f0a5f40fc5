"""A script that knows CUDA only: generate.py PKL OUT.npy prints and saves one picture."""
import sys

import numpy as np
import torch

import dnnlib
import legacy

device = torch.device('cuda')
with dnnlib.util.open_url(sys.argv[1]) as file:
    G = legacy.load_network_pkl(file)['G_ema'].to(device)
z = torch.from_numpy(np.random.RandomState(0).randn(1, G.z_dim)).to(device)
label = torch.zeros([1, G.c_dim], device=device)
label[:, 0] = 1
image = G(z, label.cuda(), truncation_psi=0.7, noise_mode='const')
np.save(sys.argv[2], image.cpu().numpy())
print('saved', torch.cuda.is_available())
