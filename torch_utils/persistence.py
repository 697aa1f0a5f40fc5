"""Pickles that carry the program text of their classes, in the published snapshot layout.

An instance of a persistent class is stored as a call of `_reconstruct_persistent_obj` in this module with one dict:

    type        'class'
    version     6
    module_src  text of the module that defines the class
    class_name  bare name of the class within that module
    state       attributes of the instance, with the constructor's arguments under `_init_args` and `_init_kwargs`

Loading with plain `pickle` executes `module_src` unless a class of that very text is known already. For files of
unknown origin use `legacy.load_network_pkl`, which never does.
"""
import copy
import functools
import hashlib
import inspect
import linecache
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any, TypeVar, cast

from dnnlib import EasyDict

FORMAT_VERSION = 6

_C = TypeVar('_C', bound=type)
_Hook = Callable[[EasyDict], EasyDict]

# Process-wide, like sys.modules: what has been imported, not what a program computes.
_hooks: list[_Hook] = []
_embedded_sources: dict[str, str] = {}          # name of a module made from embedded text -> that text
_classes: dict[tuple[str, str], type] = {}      # (module text, class name) -> persistent class


def persistent_class(orig_class: _C) -> _C:
    """Class decorator: instances remember their constructor's arguments and pickle with the source of their module.

    Adds the read-only attributes `init_args` (tuple) and `init_kwargs` (EasyDict), both deep copies. A subclass is
    persistent only if it is decorated itself. Raises ValueError where the module has no readable source.
    """
    if is_persistent(orig_class):
        return orig_class
    module_src = _source_of(orig_class.__module__)
    base: Any = orig_class

    class Persistent(base):
        _persistent_src = module_src

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            given = copy.deepcopy(dict(_init_args=args, _init_kwargs=kwargs))   # before the constructor can change them
            super().__init__(*args, **kwargs)
            # Afterwards, so that in a chain of persistent classes the outermost call is the one remembered.
            self.__dict__.update(given)

        @property
        def init_args(self) -> tuple[Any, ...]:
            return copy.deepcopy(self._init_args)

        @property
        def init_kwargs(self) -> EasyDict:
            return EasyDict(copy.deepcopy(self._init_kwargs))

        def __reduce_ex__(self, protocol: Any) -> Any:
            fields = super().__reduce_ex__(max(protocol, 2))    # (how, args, state, list items, dict items)
            if type(self) is not Persistent:    # a subclass without the decorator, or one that answers further out
                return fields
            meta = dict(type='class', version=FORMAT_VERSION, module_src=module_src,
                        class_name=_importable_name(Persistent), state=fields[2])
            return (_reconstruct_persistent_obj, (meta,), None, *fields[3:])

    functools.update_wrapper(Persistent.__init__, base.__init__)    # the signature, for help and checks of keywords
    for attribute in ('__name__', '__qualname__', '__module__', '__doc__'):
        setattr(Persistent, attribute, getattr(orig_class, attribute))
    if '.' not in Persistent.__qualname__:
        _classes[module_src, Persistent.__name__] = Persistent
    return cast(_C, Persistent)


def is_persistent(obj: Any) -> bool:
    """True for a class that is decorated itself, and for its direct instances."""
    cls = obj if isinstance(obj, type) else type(obj)
    return '_persistent_src' in vars(cls)


def constructor_arguments(obj: Any, defaults: bool = False) -> dict[str, Any]:
    """What an instance of a persistent class was built with, by name. defaults: with those of arguments that were left out."""
    bound = inspect.signature(type(obj)).bind(*obj.init_args, **obj.init_kwargs)
    if defaults:
        bound.apply_defaults()
    arguments = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(name, {}))
    return arguments


def import_hook(hook: _Hook) -> _Hook:
    """Register `hook(meta) -> meta`, called with every description before its object is built; usable as a decorator.

    `meta` has the fields listed at the top of this module. A hook returns it, changed or not; it may, for example,
    mend the text of a class that an old file carries. Hooks run in the order in which they were registered.
    """
    if not callable(hook):
        raise TypeError(f'import_hook needs a function of one argument, got {type(hook).__name__}')
    _hooks.append(hook)
    return hook


def _reconstruct_persistent_obj(description: dict[str, Any]) -> Any:
    """Build the described instance without calling its constructor. Pickles refer to this by name."""
    meta = EasyDict(description)
    for hook in _hooks:
        meta = hook(meta)
        if not isinstance(meta, dict):
            raise TypeError(f'import hook {hook!r} must return the description it was given, got {type(meta).__name__}')
    if meta.get('type') != 'class' or meta.get('version') != FORMAT_VERSION:
        raise pickle.UnpicklingError(f'persistent object of type {meta.get("type")!r}, version {meta.get("version")!r}: '
                                     f'expected "class", {FORMAT_VERSION}; was the file written by another tool?')
    cls = _find_class(meta['module_src'], meta['class_name'])
    obj: Any = cls.__new__(cls)    # type: ignore[call-overload]
    state = meta['state'] or {}
    if hasattr(obj, '__setstate__'):
        obj.__setstate__(state)
    else:
        obj.__dict__.update(state)
    return obj


def _importable_name(cls: type) -> str:
    """Name under which a reader finds the class in its module."""
    if '.' in cls.__qualname__:
        raise pickle.PicklingError(f'cannot pickle {cls.__qualname__}: a persistent class must stand at the top level of '
                                   'its module, because readers look it up by its bare name')
    return cls.__name__


def _find_class(module_src: str, class_name: str) -> type:
    """The class of this name and text: the one in use if there is one, else made by executing the text."""
    if (module_src, class_name) not in _classes:
        module = _module_from_source(module_src, class_name)
        cls = getattr(module, class_name, None)
        if not isinstance(cls, type):
            raise pickle.UnpicklingError(f'class {class_name} is not defined by the source text stored with it '
                                         f'({len(module_src)} characters)')
        _classes.setdefault((module_src, class_name), persistent_class(cls))
    return _classes[module_src, class_name]


def _module_from_source(module_src: str, class_name: str) -> types.ModuleType:
    """Execute embedded text as a module of its own, named after the text's hash; at most once per text."""
    name = '_embedded_' + hashlib.sha256(module_src.encode()).hexdigest()[:32]
    if name in sys.modules:
        return sys.modules[name]
    filename = f'<{name}>'
    module = types.ModuleType(name)
    linecache.cache[filename] = (len(module_src), None, module_src.splitlines(keepends=True), filename)  # for tracebacks
    sys.modules[name], _embedded_sources[name] = module, module_src
    try:
        exec(compile(module_src, filename, 'exec'), module.__dict__)
    except Exception as err:
        del sys.modules[name], _embedded_sources[name], linecache.cache[filename]
        raise ImportError(f'the source text stored with class {class_name} does not run here: '
                          f'{type(err).__name__}: {err}') from err
    return module


def _source_of(module_name: str) -> str:
    """Program text of a module, be it a file or embedded text."""
    if module_name in _embedded_sources:
        return _embedded_sources[module_name]
    try:
        return inspect.getsource(sys.modules[module_name])
    except (KeyError, OSError, TypeError) as err:
        raise ValueError(f'persistent classes need the source of their module, but {module_name} has none that can be '
                         'read; move the class into a .py file') from err
