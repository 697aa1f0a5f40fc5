"""What may stand in a snapshot: the networks that are known by name, and how each kind of object is read."""

import re

from torch_utils.pickles import pickle_reader, safe_values, saved_module

PERSISTENT = 'torch_utils.persistence._reconstruct_persistent_obj'

# Classes that are built at the root of a field; the classes of their parts follow from these.
KNOWN_CLASSES = {
    **{name: f'training.networks.{name}' for name in (
        'Generator', 'MappingNetwork', 'SynthesisNetwork', 'SynthesisBlock', 'SynthesisLayer', 'ToRGBLayer',
        'FullyConnectedLayer', 'Conv2dLayer', 'Discriminator', 'DiscriminatorBlock', 'DiscriminatorEpilogue',
        'MinibatchStdLayer')},
    'AugmentPipe': 'training.augment.AugmentPipe',
    'HyperGenerator': 'hyper_plugin.networks.HyperGenerator',
    'HyperDiscriminator': 'hyper_plugin.networks.HyperDiscriminator',
}
MAX_NETWORKS = 8  # in a file; tensors of one may stand in others too


def handler_of(name: str) -> pickle_reader.Handler | None:
    """What may stand in a snapshot. Modules of torch.nn are only described: our own classes say what they really are."""
    if name == PERSISTENT:
        return saved_module.from_persistent
    if re.fullmatch(r'torch\.nn\.modules\.\w+\.\w+', name):
        return saved_module.from_plain
    return safe_values.HANDLERS.get(name)
