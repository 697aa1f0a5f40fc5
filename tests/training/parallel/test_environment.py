"""training.parallel.environment: the variables that launchers set, and those that make no sense."""

import re

import pytest
import torch

from training.parallel.environment import Member, from_environment, to_environment

TORCHRUN = dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1', MASTER_ADDR='10.0.0.7', MASTER_PORT='29500')


def test_a_member_of_many():
    assert from_environment(TORCHRUN) == Member(rank=3, world_size=4, local_rank=1, address='10.0.0.7', port=29500)
    assert to_environment(from_environment(TORCHRUN)) == TORCHRUN


def test_alone():
    assert from_environment({}) is None
    assert from_environment({'RANK': '0', 'MASTER_PORT': '80'}) is None  # set for something else
    alone = dict(TORCHRUN, RANK='0', WORLD_SIZE='1', LOCAL_RANK='0')
    assert from_environment(alone) == Member(0, 1, 0, '10.0.0.7', 29500)


@pytest.mark.parametrize('lacking', [['RANK'], ['LOCAL_RANK'], ['MASTER_ADDR', 'MASTER_PORT']])
@pytest.mark.parametrize('empty', [True, False])
def test_some_are_missing(lacking, empty):
    rest = {name: value for name, value in TORCHRUN.items() if name not in lacking}
    message = rf'^the environment variables of a launcher lack {", ".join(lacking)} \(found: .*\): set all \(torchrun does\)'
    with pytest.raises(ValueError, match=message):
        from_environment({**rest, **(dict.fromkeys(lacking, '') if empty else {})})


@pytest.mark.parametrize('name, value, expected', [
    ('WORLD_SIZE', '0', '1 or more'), ('WORLD_SIZE', 'two', '1 or more'), ('RANK', '4', '0 to 3'), ('RANK', '-1', '0 to 3'),
    ('LOCAL_RANK', '4', '0 to 3'), ('MASTER_PORT', '70000', '1 to 65535'),
    ('MASTER_PORT', '\u00b2', '1 to 65535'),
])
def test_nonsense(name, value, expected):
    message = f'the environment variable {name} is {value!r}; expected a whole number, {expected}'
    with pytest.raises(ValueError, match=re.escape(message)):
        from_environment({**TORCHRUN, name: value})


def test_devices(monkeypatch):
    member = from_environment(TORCHRUN)
    assert member.device('cpu') == torch.device('cpu')
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    assert member.device('cuda') == torch.device('cuda:1')
    monkeypatch.setattr('torch.cuda.device_count', lambda: 1)
    with pytest.raises(ValueError, match='LOCAL_RANK is 1, but this process finds 1 CUDA devices: start one process'):
        member.device('cuda')


def test_a_store_that_nobody_keeps(monkeypatch):
    def refuse(*args):
        raise torch.distributed.DistNetworkError('Connection refused\nC++ frames')

    monkeypatch.setattr('torch.distributed.rendezvous', refuse)
    message = r'process 3 of 4 did not meet the others at 10\.0\.0\.7:29500: Connection refused; start all'
    with pytest.raises(ConnectionError, match=message):
        from_environment(TORCHRUN).store  # noqa: B018
