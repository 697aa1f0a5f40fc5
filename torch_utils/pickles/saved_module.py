"""Networks out of pickles that are read but not run: a description, and a module built from our own class to match it.

The handlers here complete those of `torch_utils.pickles.safe_values`; `build` makes the real module. See `safe_pickle`.
"""
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from torch_utils.named_tensors import CopyReport, fill_tensors

from .pickle_reader import Call

MAX_ARGUMENT = 2 ** 20  # far above any width, resolution or number of layers


@dataclass(eq=False)
class SavedModule:
    """A network or layer as a file describes it: bare class name and attributes."""
    class_name: str
    state: dict[str, Any]

    def __post_init__(self) -> None:
        for kind, expected in dict(_parameters=torch.Tensor, _buffers=torch.Tensor, _modules=SavedModule).items():
            parts = self.state.setdefault(kind, {})
            if not isinstance(parts, dict) or not all(part is None or isinstance(part, expected) for part in parts.values()):
                raise ValueError(f'{kind} of a {self.class_name} are not what a module has there')

    def modules(self) -> dict[str, 'SavedModule']:
        """Itself and all parts by dotted name; a part that stands in several places only once."""
        found: dict[str, SavedModule] = {}
        seen: set[int] = set()
        waiting = [('', self)]
        while waiting:
            path, module = waiting.pop()
            if id(module) not in seen:
                seen.add(id(module))
                found[path] = module
                waiting += [(_join(path, name), child) for name, child in module.state['_modules'].items() if child is not None]
        return found

    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers of all parts by dotted name."""
        return {_join(path, name): tensor for path, module in self.modules().items()
                for kind in ('_parameters', '_buffers') for name, tensor in module.state[kind].items() if tensor is not None}


def _join(path: str, name: str) -> str:
    return f'{path}.{name}' if path else name


def from_persistent(call: Call) -> SavedModule:
    """Handler for an object in the form of `torch_utils.persistence`; its program text is passed over."""
    meta, = call.args
    if meta.get('type') != 'class' or not isinstance(meta.get('class_name'), str) or not isinstance(meta.get('state'), dict):
        raise ValueError('not the description of an object')
    return SavedModule(meta['class_name'], meta['state'])


def from_plain(call: Call) -> SavedModule:
    """Handler for a module that is pickled by the name of its class, such as torch.nn.ModuleList."""
    if call.args or not isinstance(call.state, dict):
        raise ValueError('not the description of a module')
    return SavedModule(call.name.rpartition('.')[2], call.state)


def build(saved: SavedModule, construct: Callable[..., torch.nn.Module], *args: Any, **kwargs: Any) -> torch.nn.Module:
    """`construct(*args, **kwargs)` filled with the saved tensors.

    Raises ValueError that lists what differs unless classes of the parts, names and shapes all agree. The state of
    torch's random numbers does not change.
    """
    if _largest_int([*args, *kwargs.values()]) > MAX_ARGUMENT:
        raise ValueError(f'its constructor arguments hold a number above {MAX_ARGUMENT}')
    tensors = saved.tensors()
    stored = _num_stored(tensors.values())
    with torch.random.fork_rng(devices=[]), _AtMost(3 * stored + 10_000):   # layers that replace others are made twice
        module = construct(*args, **kwargs)
    _check_parts(saved, module)
    ours = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}
    fill_tensors(ours, tensors, _check_tensors)
    return module


def _num_stored(tensors: Iterable[torch.Tensor]) -> int:
    """Number of values that the file holds for the tensors: of a storage that several of them share only once."""
    sizes = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes() // max(tensor.itemsize, 2)     # float16 is the smallest weight
    return sum(sizes.values())


def _largest_int(arguments: Any) -> int:
    """The largest magnitude of an integer in nested lists, tuples and dicts; of all that may serve as one, as tensors may."""
    if isinstance(arguments, dict):
        arguments = arguments.values()
    elif not isinstance(arguments, (list, tuple)):
        try:
            return abs(operator.index(arguments))
        except (TypeError, ValueError):  # of other kinds, or of several elements
            return 0
    return max(map(_largest_int, arguments), default=0)


class _AtMost(TorchFunctionMode):
    """Stops with ValueError before more than `count` tensor elements are made.

    Constructor arguments come from the file, and a short file may ask for a network of any size.
    """
    FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.FACTORIES:
            size = {key: value for key, value in kwargs.items() if key not in ('device', 'generator')}
            # Random numbers without values would import torch's symbolic shapes and SymPy: a second.
            unfilled = torch.empty if func in (torch.rand, torch.randn) else func
            self.left -= 1 + unfilled(*args, device='meta', **size).numel()
            if self.left < 0:
                raise ValueError('its constructor arguments ask for a much larger network than the file has')
        return func(*args, **kwargs)


def _check_parts(saved: SavedModule, module: torch.nn.Module) -> None:
    """ValueError unless `module` has the saved parts, by name and class."""
    ours = {name: type(part).__name__ for name, part in module.named_modules()}
    theirs = {name: part.class_name for name, part in saved.modules().items()}
    other = [f'{name or "root"} ({kind}, here {ours.get(name, "nothing")})'
             for name, kind in theirs.items() if kind != ours.get(name)]
    if other:
        raise ValueError(f'{len(other)} parts are of a kind that is not known here: {", ".join(sorted(other))}')


def _check_tensors(report: CopyReport) -> None:
    """ValueError unless a network has the saved tensors and no others, in the same shapes."""
    problems = {'missing in the file': report.new, 'only in the file': report.unused,
                'of another shape': [f'{name} {there} (expected {here})' for name, (there, here) in report.misfits.items()]}
    if any(problems.values()):
        raise ValueError('its tensors do not fit its constructor arguments; '
                         + '; '.join(f'{what}: {", ".join(names)}' for what, names in problems.items() if names))
