"""torch_utils.persistence: classes made from the program text that a pickle carries."""
import copy
import importlib
import inspect
import pickle
import subprocess
import sys

import pytest
import torch

from torch_utils import persistence

SOURCE = """
import torch
from torch_utils import persistence

FACTOR = 3

@persistence.persistent_class
class Embedded(torch.nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.bias = bias
        self.inner = Inner()

    def forward(self, x):
        return self.inner(x) * FACTOR + self.bias

@persistence.persistent_class
class Inner(torch.nn.Module):
    def forward(self, x):
        return x + 1
"""


@pytest.fixture
def module_file(tmp_path, monkeypatch):
    """Write and import a module of this text under a name; forget it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        (tmp_path / f'{name}.py').write_text(text)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)
    return write


def forget_class(monkeypatch, module):
    """As in a process that never imported the module."""
    for key in [key for key in persistence._classes if key[0] == inspect.getsource(module)]:
        monkeypatch.delitem(persistence._classes, key)
    monkeypatch.delitem(sys.modules, module.__name__)


def test_source_travels_with_the_pickle(module_file, monkeypatch):
    module = module_file('maker', SOURCE)
    net = module.Embedded(bias=0.5)
    data = pickle.dumps(net)
    forget_class(monkeypatch, module)
    other = pickle.loads(data)
    assert type(other) is not module.Embedded and persistence.is_persistent(other) and type(other).__name__ == 'Embedded'
    assert other(torch.ones([])) == 6.5 and other.init_kwargs == dict(bias=0.5)
    third = pickle.loads(pickle.dumps(other))                    # and on with the next pickle, word for word
    assert type(third) is type(other) and third.__reduce_ex__(4)[1][0]['module_src'] == SOURCE
    assert type(copy.deepcopy(third)) is type(other)
    fresh = type(other)(bias=2)             # the class is a working one
    assert fresh(torch.ones([])) == 8


def test_pickle_opens_where_the_module_is_unknown(module_file, tmp_path):
    path = tmp_path / 'net.pkl'
    path.write_bytes(pickle.dumps(module_file('maker', SOURCE).Embedded(bias=0.5)))
    code = f'import pickle, torch; print(pickle.load(open({str(path)!r}, "rb"))(torch.ones([])).item())'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == '6.5'


def test_edited_module_keeps_the_old_class_for_old_pickles(module_file):
    old = pickle.dumps(module_file('maker', SOURCE).Embedded(bias=0))
    module = module_file('maker', SOURCE.replace('FACTOR = 3', 'FACTOR = 5'))
    new = pickle.dumps(module.Embedded(bias=0))
    one = torch.ones([])
    assert pickle.loads(old)(one) == 6 and pickle.loads(new)(one) == 10
    assert type(pickle.loads(new)) is module.Embedded


def test_class_that_was_not_decorated_in_its_source():
    meta = dict(type='class', version=6, module_src='class Bare:\n    x = 1\n', class_name='Bare', state=dict(y=2))
    obj = persistence._reconstruct_persistent_obj(meta)
    assert (obj.x, obj.y) == (1, 2) and persistence.is_persistent(obj) and pickle.loads(pickle.dumps(obj)).y == 2


def test_error_in_embedded_source():
    meta = dict(type='class', version=6, module_src='import absent_dependency\n', class_name='Net', state={})
    for _ in range(2):      # the failed module is not kept
        with pytest.raises(ImportError, match=r'class Net does not run here: ModuleNotFoundError: .*absent_dependency'):
            persistence._reconstruct_persistent_obj(meta)
    with pytest.raises(pickle.UnpicklingError, match='class Net is not defined'):
        persistence._reconstruct_persistent_obj(dict(meta, module_src=''))
