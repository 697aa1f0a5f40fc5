"""torch_utils.persistence: what the pickles hold, and what comes back."""
import copy
import inspect
import pickle
import pickletools

import pytest
import torch

import dnnlib
from torch_utils import persistence
from torch_utils.persistence import constructor_arguments, import_hook, is_persistent, persistent_class


@persistent_class
class Linear(torch.nn.Module):
    """A layer."""

    def __init__(self, num_in, num_out=2, options=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn([num_out, num_in]))
        self.register_buffer('mean', torch.zeros([]))
        if options is not None:
            options['seen'] = True      # a constructor that changes what it is given

    def forward(self, x):
        return x @ self.weight.T


@persistent_class
class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = Linear(3, num_out=width)
        self.second = Linear(width)

    def forward(self, x):
        return self.second(self.first(x))


@persistent_class
class Scaled(Linear):
    def __init__(self, scale):
        super().__init__(4, num_out=5)
        self.scale = scale


class Plain(Linear):
    """Not decorated, so an ordinary class to pickle."""


class Mixin:
    label = 'mixed'

    def __init__(self, *args, tag='none', **kwargs):
        super().__init__(*args, **kwargs)
        self.tag = tag


@persistent_class
class Mixed(Mixin, Linear):
    pass


@persistent_class
class NotAModule:
    def __init__(self, value):
        self.value = value


@persistent_class
class WithState:
    def __init__(self):
        self.kept, self.dropped = 1, 2

    def __getstate__(self):
        return dict(kept=self.kept)

    def __setstate__(self, state):
        self.__dict__.update(state, restored=True)


def description(obj):
    """The dict that a reader hands to `_reconstruct_persistent_obj`."""
    function, (meta,), *rest = obj.__reduce_ex__(4)
    assert function is persistence._reconstruct_persistent_obj and not any(rest)
    return meta


def again(obj):
    return pickle.loads(pickle.dumps(obj))


# --- the class ---

def test_class_looks_undecorated():
    assert Linear.__name__ == Linear.__qualname__ == 'Linear'
    assert Linear.__doc__ == 'A layer.' and Linear.__module__ == __name__
    assert list(inspect.signature(Linear).parameters) == ['num_in', 'num_out', 'options']
    assert persistent_class(Linear) is Linear
    with pytest.raises(TypeError, match='nonsense'):
        Linear(1, nonsense=2)


def test_is_persistent():
    assert is_persistent(Linear) and is_persistent(Linear(1)) and is_persistent(Mixed(1))
    assert not is_persistent(torch.nn.Linear) and not is_persistent(3) and not is_persistent(Plain(1))


@persistent_class
class Open:
    """Takes any keyword."""

    def __init__(self, size, depth=2, **rest):
        pass


def test_constructor_arguments_by_name():
    given = Open(4, slope=0.2)
    assert constructor_arguments(given) == dict(size=4, slope=0.2)
    assert constructor_arguments(given, defaults=True) == dict(size=4, depth=2, slope=0.2)
    assert constructor_arguments(Linear(3, options={})) == dict(num_in=3, options={})


def test_constructor_arguments_are_remembered_as_given():
    options = dict(depth=[1])
    layer = Linear(3, options=options)
    assert layer.init_args == (3,) and layer.init_kwargs == dict(options=dict(depth=[1]))
    assert isinstance(layer.init_kwargs, dnnlib.EasyDict) and layer.init_kwargs.options == dict(depth=[1])
    layer.init_kwargs['options']['depth'].append(2)     # a copy
    options['depth'].append(3)                          # the caller's own
    assert layer.init_kwargs == dict(options=dict(depth=[1]))
    with pytest.raises(AttributeError):
        layer.init_args = ()


def test_outermost_constructor_is_remembered():
    net = Scaled(0.5)
    assert net.init_args == (0.5,) and net.weight.shape == (5, 4)
    mixed = Mixed(2, num_out=7, tag='t')
    assert mixed.init_args == (2,) and mixed.init_kwargs == dict(num_out=7, tag='t') and mixed.weight.shape == (7, 2)


# --- the pickle ---

def test_description_of_an_instance():
    net = Net(4)
    meta = description(net)
    assert type(meta) is dict and list(meta) == ['type', 'version', 'module_src', 'class_name', 'state']
    assert (meta['type'], meta['version'], meta['class_name']) == ('class', 6, 'Net')
    with open(__file__) as file:
        assert meta['module_src'] == file.read()
    assert meta['state'].keys() == net.__dict__.keys()
    assert meta['state']['_init_args'] == (4,) and meta['state']['_init_kwargs'] == {}


def test_pickle_names_nothing_of_the_defining_module():
    globals_named = [arg for op, arg, _ in pickletools.genops(pickle.dumps(Net(4), protocol=2)) if op.name == 'GLOBAL']
    assert 'torch_utils.persistence _reconstruct_persistent_obj' in globals_named
    assert not any(__name__ in name for name in globals_named)


@pytest.mark.parametrize('make', [lambda: Scaled(0.5), lambda: Mixed(2, tag='t'), lambda: Plain(3), lambda: NotAModule([1])])
@pytest.mark.parametrize('how', [again, copy.deepcopy, copy.copy])
def test_round_trip_of_every_kind(make, how):
    obj = make()
    other = how(obj)
    assert type(other) is type(obj) and other is not obj and other.__dict__.keys() == obj.__dict__.keys()
    assert other.init_args == obj.init_args and other.init_kwargs == obj.init_kwargs
    for name in ('scale', 'tag', 'value'):
        assert getattr(other, name, None) == getattr(obj, name, None)


def test_own_state_methods_are_used():
    other = again(WithState())
    assert other.kept == 1 and other.restored and not hasattr(other, 'dropped')


def test_class_within_a_function_cannot_be_pickled_and_hides_no_other():
    @persistent_class
    class Linear(torch.nn.Module):
        pass
    with pytest.raises(pickle.PicklingError, match='top level'):
        pickle.dumps(Linear())
    assert type(again(globals()['Linear'](1))) is globals()['Linear']


def test_module_without_source_is_refused():
    namespace = dict(__name__='made_of_nothing', persistent_class=persistent_class)
    with pytest.raises(ValueError, match='made_of_nothing has none'):
        exec('@persistent_class\nclass C: pass', namespace)


@pytest.mark.parametrize('change', [dict(type='function'), dict(version=7)])
def test_other_formats_are_refused(change):
    with pytest.raises(pickle.UnpicklingError, match='expected "class", 6'):
        persistence._reconstruct_persistent_obj(dict(description(Linear(1)), **change))


# --- hooks ---

def test_import_hooks_see_and_change_descriptions(monkeypatch):
    monkeypatch.setattr(persistence, '_hooks', [])
    seen = []

    @import_hook
    def rename(meta):
        seen.append(meta.class_name)
        if meta.class_name == 'NotAModule':
            meta.state['value'] = 'changed'
        return meta

    assert again(NotAModule('given')).value == 'changed' and seen == ['NotAModule']
    import_hook(lambda meta: None)
    with pytest.raises(TypeError, match='must return'):
        again(NotAModule(1))
    with pytest.raises(TypeError, match='import_hook'):
        import_hook('no function')
