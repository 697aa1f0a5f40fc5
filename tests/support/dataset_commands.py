"""dataset_tool.py in this process, and what it made."""

import json
import os
import zipfile

from click.testing import CliRunner

from dataset_tool import main
from training.data.image_dataset import ImageFolderDataset


def run(*args, code=0):
    """-> the output in one text; the exit code must be `code`."""
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    return result.output


def refused(dest, *args):
    """The command stops with exit code 2, one line, and nothing left. -> that line."""
    before = sorted(os.listdir(dest.parent))
    output = run(f'--dest={dest}', *args, code=2).strip()
    assert output.startswith('Error: ') and '\n' not in output
    assert sorted(os.listdir(dest.parent)) == before
    return output


def contents(path):
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        return {name: archive.read(name) for name in names}, json.loads(archive.read('dataset.json'))


def first_image(path):
    dataset = ImageFolderDataset(path)
    image, _label = dataset[0]
    dataset.close()
    return image
