"""dnnlib/files.py: what is under a name after a write that ends well, or does not."""

import pytest

from dnnlib.files import whole_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / 'report.v1.json'
    with whole_file(str(path)) as part:
        part.write_text('new')
        assert part.suffix == '.json' and part.parent == tmp_path
        assert not path.exists()
    assert path.read_text() == 'new' and names(tmp_path) == ['report.v1.json']


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt])
def test_after_an_error_the_old_file_stands(error, tmp_path):
    path = tmp_path / 'net.pkl'
    path.write_text('old')
    with pytest.raises(error), whole_file(path) as part:
        part.write_text('half')
        raise error
    assert path.read_text() == 'old' and names(tmp_path) == ['net.pkl']


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / 'a'):
        pass
    assert names(tmp_path) == []
