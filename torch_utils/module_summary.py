"""Table of the layers that one call of a module runs through."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class _Row:
    name: str
    num_params: int
    num_buffers: int
    shapes: list[str]
    dtypes: list[str]


def print_module_summary(module: torch.nn.Module, inputs: Sequence[Any], max_nesting: int = 3,
                         skip_redundant: bool = True) -> Any:
    """Call `module(*inputs)` without gradients, print what each layer holds and puts out, and return the outputs.

    A tensor is counted in the first row that it belongs to, a layer's own tensors before those of the layers around
    it. `max_nesting`: how deep layers within layers get rows of their own; what lies deeper counts for the row above.
    `skip_redundant` leaves out layers without tensors of their own. The call is an ordinary one: in training mode it
    moves running statistics.
    """
    rows: list[_Row] = []
    names = {layer: name or '<top-level>' for name, layer in module.named_modules()}
    running: list[torch.nn.Module] = []
    counted: set[torch.Tensor] = set()

    def enter(layer: torch.nn.Module, _inputs: Any) -> None:
        running.append(layer)

    def leave(layer: torch.nn.Module, _inputs: Any, outputs: Any) -> None:
        running.pop()
        if len(running) > max_nesting:
            return
        params = set(layer.parameters()) - counted
        buffers = set(layer.buffers()) - counted
        counted.update(params, buffers)
        if params or buffers or layer is module or not skip_redundant:
            tensors = list(_tensors_in(outputs))
            rows.append(_Row(names[layer], sum(t.numel() for t in params), sum(t.numel() for t in buffers),
                             [str(list(t.shape)) for t in tensors], [str(t.dtype).removeprefix('torch.') for t in tensors]))

    handles = []
    for layer in module.modules():
        handles += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
    try:
        with torch.no_grad():
            outputs = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    print(_format_table(type(module).__name__, rows))
    return outputs


def _tensors_in(outputs: Any) -> Iterator[torch.Tensor]:
    """Tensors in nested lists, tuples and dictionaries."""
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, (list, tuple)):
        for item in outputs:
            yield from _tensors_in(item)
    elif isinstance(outputs, dict):
        yield from _tensors_in(list(outputs.values()))


def _format_table(title: str, rows: list[_Row]) -> str:
    """Columns as wide as their longest entry; numbers to the right."""
    cells = [(title, 'Parameters', 'Buffers', 'Output shape', 'Type')]
    cells += [(row.name, f'{row.num_params:,}', f'{row.num_buffers:,}', ' '.join(row.shapes) or '-', ' '.join(row.dtypes) or '-')
              for row in rows]
    cells += [('Total', f'{sum(row.num_params for row in rows):,}', f'{sum(row.num_buffers for row in rows):,}', '', '')]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    rule = ['-' * width for width in widths]
    lines = [cells[0], rule, *cells[1:-1], rule, cells[-1]]
    return '\n'.join('  '.join(cell.rjust(width) if column in (1, 2) else cell.ljust(width)
                               for column, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip() for line in lines)
