"""A folder as the Hugging Face hub expects a model: weights, a description, a card with a sample picture."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib import hub
from dnnlib.files import write_whole
from generating.sampler import Sampler
from torch_utils.pickles import weights_file
from training.data.class_labels import NetworkLabels
from training.data.image_grid import make_grid, save_image

from .model_card import card_text, run_of

CONFIG, CARD, PICTURE = 'config.json', 'README.md', 'samples.png'
FILES = (hub.WEIGHTS, CONFIG, PICTURE, CARD)
METADATA = """\
---
license: other
library_name: hyper-stylegan2
pipeline_tag: unconditional-image-generation
tags:
- stylegan2
- gan
- image-generation
---
"""
_USE = """\
Fill in OWNER and NAME after the upload:

    huggingface-cli upload OWNER/NAME {folder}
    python generate.py --network=hf://OWNER/NAME {draw}

From Python, with the downloaded file:

"""
MAX_ROWS, NUM_COLUMNS, PSI = 10, 8, 0.7  # of the sample picture


def write_hub_folder(folder: Path, snapshot: dict[str, Any], network: str) -> None:
    """Write FILES into the folder. ValueError where the safetensors library is missing; OSError.

    network: path or URL that the snapshot was read from; the card tells of its run directory, if there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights_file.write_fields(folder / hub.WEIGHTS, snapshot)
    write_whole(folder / CONFIG, json.dumps(describe(snapshot), indent=2) + '\n')
    labels = NetworkLabels.of(snapshot)
    save_image(sample_picture(snapshot['G_ema'], labels), folder / PICTURE)
    use = _USE.format(folder=folder.name, draw='--grid' if labels.class_names or not labels.num_dims else '--label=NUMBERS')
    card = card_text(folder / hub.WEIGHTS, snapshot, network, run_of(network), title=folder.absolute().name, use=use)
    title, _, rest = card.partition('\n\n')
    write_whole(folder / CARD, f'{METADATA}\n{title}\n\n![Samples]({PICTURE})\n\n{rest}')


def describe(snapshot: dict[str, Any]) -> dict[str, Any]:
    """What a program wants to know before it reads the weights, JSON-ready."""
    G = snapshot['G_ema']
    return dict(library_name='hyper-stylegan2', architectures=[type(G).__name__], z_dim=G.z_dim, w_dim=G.w_dim, c_dim=G.c_dim,
                num_ws=G.num_ws, img_resolution=G.img_resolution, img_channels=G.img_channels,
                class_names=list(snapshot.get('class_names') or []))


def sample_picture(G: Any, labels: NetworkLabels) -> Any:
    """The first classes, a row each, a column for each seed; without classes, rows of seeds. Label vectors: all zero."""
    rows = min(len(labels.class_names), MAX_ROWS) or 2
    seeds = list(range(NUM_COLUMNS)) * rows if labels.class_names else list(range(NUM_COLUMNS * rows))
    all_labels = np.zeros([len(seeds), labels.num_dims], dtype=np.float32)
    if labels.class_names:
        all_labels = np.eye(labels.num_dims, dtype=np.float32)[:rows].repeat(NUM_COLUMNS, axis=0)
    sampler = Sampler(G, labels, torch.device('cpu'), PSI, 'const', batch=NUM_COLUMNS)
    return make_grid(np.stack(list(sampler.images(seeds, all_labels))), NUM_COLUMNS, labels.class_names[:rows] or None)
