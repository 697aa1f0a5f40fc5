"""training/run/board.py, read back by TensorBoard itself."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.support.small_disk import FullFile
from training.run.board import Board

accumulators = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator', reason='needs TensorBoard')


def read(folder):
    return accumulators.EventAccumulator(str(folder)).Reload()


def test_numbers_and_a_picture_come_back(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, [6, 8, 3], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'grid.png')
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / 'gray.png')
    board = Board(tmp_path, 0, print)
    board.add_scalars({'Loss/G': 0.5, 'Loss/D': float('inf')}, step=100)
    board.add_scalars({'Loss/G': -2.0}, step=200)
    board.add_picture('fakes', tmp_path / 'grid.png', step=200)
    board.add_picture('gray', tmp_path / 'gray.png', step=200)
    events = read(tmp_path)     # visible before it is closed
    board.close()
    assert [(event.step, event.value) for event in events.Scalars('Loss/G')] == [(100, 0.5), (200, -2)]
    assert events.Scalars('Loss/D')[0].value == float('inf')
    for name, wanted in [('fakes', pixels), ('gray', pixels[:, :, :1].repeat(3, axis=2))]:
        event, = events.Images(name)
        assert (event.step, event.width, event.height) == (200, 8, 6)
        with Image.open(io.BytesIO(event.encoded_image_string)) as image:
            np.testing.assert_array_equal(np.asarray(image), wanted)


def test_a_later_run_replaces_what_was_lost(tmp_path):
    for first_step, steps in [(0, [100, 200, 300]), (201, [290]), (291, [400])]:
        board = Board(tmp_path, first_step, print)
        for step in steps:
            board.add_scalars(dict(x=step), step)
        board.close()
    assert [event.step for event in read(tmp_path).Scalars('x')] == [100, 200, 290, 400]
    assert len(list(tmp_path.iterdir())) == 3


def test_on_a_full_disk_numbers_wait_and_pictures_do_not(tmp_path):
    said = []
    Image.new('RGB', (64, 64)).save(tmp_path / 'grid.png')
    board = Board(tmp_path, 0, said.append)
    file = board._file._file
    board._file._file = FullFile()
    for step in range(1, 4):
        board.add_scalars(dict(x=step), step)
        board.add_picture('fakes', tmp_path / 'grid.png', step)
    board._file._file = file
    board.add_scalars(dict(x=4), 4)
    board.add_picture('fakes', tmp_path / 'grid.png', 4)
    board.close()
    events = read(tmp_path)
    assert [event.step for event in events.Scalars('x')] == [1, 2, 3, 4]
    assert [event.step for event in events.Images('fakes')] == [4]
    assert len(said) == 1


def test_a_picture_that_is_not_there(tmp_path):
    board = Board(tmp_path, 0, print)
    with pytest.raises(FileNotFoundError):
        board.add_picture('fakes', tmp_path / 'absent.png', 1)
    board.close()
