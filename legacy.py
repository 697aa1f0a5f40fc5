"""Network snapshots, under the module name that NVLabs' tools use; the code is in training/snapshot/.

    python -m legacy inspect FILE shows what a snapshot contains and whether it is safe to open
"""

from training.snapshot.reading import load_network_pkl
from training.snapshot.source_names import RESUME_NAMES, resolve_resume
from training.snapshot.writing import save_network_pkl

__all__ = ['RESUME_NAMES', 'load_network_pkl', 'resolve_resume', 'save_network_pkl']

if __name__ == '__main__':
    from commands.inspect_snapshot import main
    main(prog_name='python -m legacy')
