"""Small helpers that know nothing of torch: dictionaries, names to objects, URLs, logging."""
from .util import EasyDict, Logger, make_cache_dir_path

__all__ = ['EasyDict', 'Logger', 'make_cache_dir_path']
