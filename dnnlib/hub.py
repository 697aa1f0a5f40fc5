"""Files of the Hugging Face hub by address: hf://OWNER/NAME, hf://OWNER/NAME@REVISION, hf://OWNER/NAME/FILE.

huggingface_hub downloads them: its cache (HF_HOME), tokens (HF_TOKEN), server (HF_ENDPOINT) and offline mode (HF_HUB_OFFLINE)
hold here too.
"""
import re
from typing import Any

WEIGHTS = 'model.safetensors'  # the hub's own name for the weights of a model
_ADDRESS = re.compile(r'hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<file>[^@]+))?')
_SNAPSHOTS = ('.safetensors', '.pkl')


def is_hub_address(text: Any) -> bool:
    """Whether this is an address of the hub, right or wrong."""
    return isinstance(text, str) and text.startswith('hf://')


def download(address: str) -> str:
    """Path of the file in the hub's cache. Without a file name: model.safetensors, or else the only snapshot there.

    Raises ValueError for a malformed address and where huggingface_hub is missing, OSError, in one line, if the hub does not
    give the file.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(f'{address}: expected hf://OWNER/NAME, with @REVISION or /FILE after it if needed')
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as err:
        raise ValueError(f'{address} needs the hub library: pip install huggingface_hub') from err
    where: dict[str, Any] = dict(repo_id=match['repo'], revision=match['revision'])
    try:
        if match['file']:
            return huggingface_hub.hf_hub_download(filename=match['file'], **where)
        try:
            return huggingface_hub.hf_hub_download(filename=WEIGHTS, **where)
        except errors.EntryNotFoundError as err:
            if isinstance(err, errors.LocalEntryNotFoundError):  # not in the cache, and the hub cannot be asked
                raise
        files = [name for name in huggingface_hub.HfApi().list_repo_files(**where) if name.endswith(_SNAPSHOTS)]
        if len(files) == 1:
            return huggingface_hub.hf_hub_download(filename=files[0], **where)
    except Exception as err:  # also those of whatever library its version asks the server with
        raise OSError(f'cannot download {address}: {_reason(err, errors)}') from err
    found = f'{len(files)} snapshots ({", ".join(files[:5])})' if files else 'no .safetensors or .pkl file'
    raise OSError(f'{address} has {found}: name one, as in hf://{match["repo"]}/FILE')


def _reason(err: Exception, errors: Any) -> str:
    """One line; the library's own texts have many."""
    if isinstance(err, errors.GatedRepoError):
        return 'its owner has to grant access first; log in with hf auth login, or set HF_TOKEN'
    if isinstance(err, errors.RepositoryNotFoundError):
        return 'there is no such model, or it is private: log in with hf auth login, or set HF_TOKEN'
    if isinstance(err, errors.RevisionNotFoundError):
        return 'the model has no such revision'
    if isinstance(err, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        return 'it is not in the cache, and the hub cannot be reached; check the connection, HF_ENDPOINT and HF_HUB_OFFLINE'
    if isinstance(err, errors.EntryNotFoundError):
        return 'the model has no such file'
    return ' '.join(str(err).split())[:200]
