"""torch-fidelity, whose functions of features the tests compare with."""
import importlib
import importlib.util
import sys
import warnings
from unittest import mock

import pytest

TORCHVISION = ('torchvision', 'torchvision.datasets', 'torchvision.transforms', 'torchvision.transforms.functional')


def torch_fidelity(part):
    """Its module of that name. It imports torchvision, for networks and data sets that are not used here: a stand-in will do."""
    if importlib.util.find_spec('torch_fidelity') is None:
        pytest.skip('needs torch-fidelity')
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in TORCHVISION}), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return importlib.import_module(f'torch_fidelity.{part}')
