"""The kind of a file given as a snapshot, from its first bytes."""

import pickletools

TENSORFLOW = 'dnnlib.tflib.'    # how names in pickles of the TensorFlow versions begin
_FOREIGN = {    # how files begin that are taken for snapshots by mistake
    b'PK\x03\x04': 'a zip archive', b'\x1f\x8b': 'a gzip file (unpack it first)', b'\x89PNG': 'a PNG image',
    b'\xff\xd8': 'a JPEG image', b'<': 'a web page (a failed download?)',
    b'version https://git-lfs': 'a Git LFS pointer (run "git lfs pull")', b'\x08': 'apparently an ONNX file',
}
_OPCODES = {ord(opcode.code) for opcode in pickletools.opcodes}  # what a pickle may begin with


def tensorflow_era() -> ValueError:
    """Advice for a pickle of the TensorFlow versions."""
    return ValueError('a pickle of the TensorFlow versions of StyleGAN; convert it first with the script legacy.py of '
                      'stylegan2-ada-pytorch (--source=OLD.pkl --dest=NEW.pkl)')


def check_kind_of_file(content: bytes) -> None:
    """ValueError that says what the file is, if it clearly has no networks."""
    if not content:
        raise ValueError('the file is empty; expected a network pickle')
    kind = foreign_kind(content)
    if kind is not None:
        raise ValueError(f'this is {kind}; expected a network pickle')


def foreign_kind(content: bytes) -> str | None:
    """The kind of a file that is not a pickle, from its first bytes; None if it may be one."""
    for start, kind in _FOREIGN.items():
        if content[:64].lstrip().startswith(start):
            return kind
    return 'not a pickle, or a damaged one' if content and content[0] not in _OPCODES else None
