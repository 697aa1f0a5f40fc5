"""Values of --resume: a path, a URL, or the name of a model that NVLabs published."""

import difflib
import glob
import os
import re

_HOST = 'https://nvlabs-fi-cdn.nvidia.com'
_FOLDER = 'stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets'
RESUME_NAMES = {name: f'{_HOST}/{_FOLDER}/{file}.pkl' for name, file in dict(
    ffhq256='ffhq-res256-mirror-paper256-noaug',
    ffhq512='ffhq-res512-mirror-stylegan2-noaug',
    ffhq1024='ffhq-res1024-mirror-stylegan2-noaug',
    celebahq256='celebahq-res256-mirror-paper256-kimg100000-ada-target0.5',
    lsundog256='lsundog-res256-paper256-kimg100000-noaug').items()}


def resolve_resume(name: str) -> str:
    """Path or URL of a source network: NVLabs' short names become URLs, URLs and existing paths stay as they are."""
    if name in RESUME_NAMES:
        return RESUME_NAMES[name]
    if os.path.exists(name) or re.match(r'(https?|file|hf)://', name):
        return name
    raise ValueError(f'--resume: there is no file {name!r}; {_nearest_names(name)}give the path or URL of a network pickle, '
                     f'or one of {", ".join(RESUME_NAMES)}')


def _nearest_names(name: str) -> str:
    """'did you mean ...? ' with similar names and files; '' if there are none."""
    folder, base = os.path.split(name)
    known = {os.path.basename(path): path for path in glob.glob(os.path.join(glob.escape(folder), '*.pkl'))}
    known |= {} if folder else {name: name for name in RESUME_NAMES}
    near = [known[match] for match in difflib.get_close_matches(base, known, n=2)]
    return f'did you mean {" or ".join(near)}? ' if near else ''
