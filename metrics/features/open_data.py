"""Data sets, opened from construct_class_by_name's arguments: a measurement looks at the same one many times."""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import dnnlib


def all_arguments(dataset_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with the defaults of those that are left out."""
    parameters = inspect.signature(dnnlib.util.get_obj_by_name(dataset_kwargs['class_name'])).parameters.values()
    return {**{one.name: one.default for one in parameters if one.default is not one.empty}, **dataset_kwargs}


class OpenData:
    """Opens a data set when it is first asked for, and has it from then on. `close()` of a data set only lets go of files."""

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def __call__(self, dataset_kwargs: Mapping[str, Any], **changes: Any) -> Any:
        """The data set of these arguments, of which `changes` replace some."""
        given = {**dataset_kwargs, **changes}
        key = json.dumps(all_arguments(given), sort_keys=True, default=str)
        if key not in self._opened:
            self._opened[key] = dnnlib.util.construct_class_by_name(**given)
        return self._opened[key]
