"""The start of a transfer: what is kept of a self-initialisation."""

import torch

from commands.transfer_start import SELFINIT_STATE, kept_state
from training.loop.training_state import write_state


def test_a_damaged_state_is_made_anew_with_one_line(tmp_path, capsys):
    path = tmp_path / SELFINIT_STATE
    assert kept_state(path) is None
    write_state(path, dict(images=8, weights=torch.zeros(1000)))
    assert kept_state(path)['images'] == 8 and capsys.readouterr().err == ''
    whole = path.read_bytes()
    place = whole.index(bytes(4000)) + 2000
    for damaged in (whole[:-100], b'', whole[:place] + b'\x01' + whole[place + 1:]):
        path.write_bytes(damaged)
        assert kept_state(path) is None
        warning = f'Warning: the self-initialisation in {path} cannot be used and is computed again: '
        assert capsys.readouterr().err.startswith(warning)
