"""Program text that snapshots carry runs in stock checkouts: Python 3.7's grammar, names that PyTorch 1.9 has, plain numbers."""
import ast
import io
import pickle

import pytest
import torch

import legacy
from tests.conftest import REPO
from tests.support.hyper_sources import make_hyper, make_hyper_D, make_source, make_source_D
from training.augment import AugmentPipe

EMBEDDED = ['training/networks.py', 'training/augment.py', 'hyper_plugin/networks.py']
OFFERED = ('torch_utils.misc', 'torch_utils.persistence', 'torch_utils.ops', 'training.networks', 'training.networks_stylegan2')
# Attributes and methods newer than PyTorch 1.9 or Python 3.7 that this kind of code is tempted to use.
TOO_NEW = {'mT', 'mH', 'H', 'unflatten', 'scatter_reduce', 'setup_context', 'index_reduce', 'vmap', 'func', 'compile', 'nbytes',
           'removeprefix', 'removesuffix', 'prod_', 'isqrt', 'dist', 'pairwise', 'cache', 'NormalDist'}
KEYWORDS = {'zip': {'strict'}, 'argsort': {'stable'}}


@pytest.mark.parametrize('name', EMBEDDED)
def test_text_is_within_the_limits(name):
    tree = ast.parse((REPO / name).read_text(), feature_version=(3, 7))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imports[0].module == '__future__' and imports[0].names[0].name == 'annotations'     # annotations are not evaluated
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & TOO_NEW
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = getattr(call.func, 'id', getattr(call.func, 'attr', ''))
        assert not {keyword.arg for keyword in call.keywords} & KEYWORDS.get(function, set()), f'{function} in line {call.lineno}'


@pytest.mark.parametrize('name', EMBEDDED)
def test_text_imports_what_every_host_offers(name):
    tree = ast.parse((REPO / name).read_text())
    tree.body = [node for node in tree.body if not isinstance(node, ast.Try)]  # what may be missing
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split('.')[0] in ('torch_utils', 'training', 'hyper_plugin'):
            assert all(f'{node.module}.{alias.name}'.startswith(OFFERED) for alias in node.names), ast.unparse(node)


def test_the_limits_are_noticed():
    """The check above can fail: what current code would use is not Python 3.7."""
    with pytest.raises(SyntaxError):
        ast.parse('match x:\n    case 1: pass', feature_version=(3, 7))


def test_snapshots_hold_no_numpy(tmp_path):
    """Files with numpy's scalars, which name its internals, open only under versions of numpy that have these."""
    source = make_source()
    networks = dict(G=source, D=make_source_D(), G_ema=make_hyper(source), augment_pipe=AugmentPipe(xflip=1))
    networks['other'] = make_hyper_D(networks['D'], d_cond='projection')
    legacy.save_network_pkl(tmp_path / 'network.pkl', networks)

    class Names(pickle.Unpickler):
        def find_class(self, module, name):
            found.add(module)
            return super().find_class(module, name)

    found = set()
    Names(io.BytesIO((tmp_path / 'network.pkl').read_bytes())).load()
    assert 'torch._utils' in found and not any(module.startswith('numpy') for module in found)


def test_rounded_square_root_is_the_old_kind_of_function():
    """PyTorch before 2.0 calls forward(ctx, x) and knows no setup_context."""
    from training.networks import RoundedSqrt
    assert RoundedSqrt.setup_context is torch.autograd.Function.setup_context
