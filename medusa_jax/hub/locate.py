"""A pretrained model by name: its folder found on this machine, or fetched if allowed."""

from pathlib import Path

from medusa_jax.errors import FeatureError
from medusa_jax.hub.catalogue import ENCODERS, PREFIX, hub_id_of
from medusa_jax.hub.download import fetch
from medusa_jax.hub.model_folder import NEEDED, check_fits
from medusa_jax.hub.record import find, models_folder


def locate(model: str, revision: str | None = None, *, offline: bool = True) -> Path:
    """Return the folder of a model: an entry of `ENCODERS`, or a folder or hub id after `hf:`.

    An entry or hub id is looked up among the fetched models, then in the hub's own cache, and
    downloaded only if `offline` is false. Raises `FeatureError` if the model is not found, or is
    not the model that the entry describes.
    """
    folder = Path(model.removeprefix(PREFIX)).expanduser()
    if model not in ENCODERS and folder.is_dir():
        if revision:
            raise FeatureError(
                "a local model has no revisions", where=folder, hint="remove the key revision"
            )
        return folder
    found = find(model, revision) or _cached(model, revision)
    if found is None and not offline:
        return fetch(model, models_folder(), revision=revision)
    if found is None:
        hint = (
            f"run medusa models fetch {model}, set offline: false to download it, or give a folder"
        )
        raise FeatureError("the model is not on this machine", where=model, hint=hint)
    check_fits(model, found)
    return found


def _cached(model: str, revision: str | None) -> Path | None:
    """Find the snapshot in the hub's own cache. Raises `FeatureError` for an invalid hub id."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    hub_id, pinned = hub_id_of(model)
    try:
        found = snapshot_download(
            hub_id,
            revision=revision or pinned,
            allow_patterns=list(NEEDED),
            local_files_only=True,
        )
    except HFValidationError as error:
        raise FeatureError(
            "this is neither a folder nor a hub id", where=model, hint="check the path"
        ) from error
    except OSError:  # absent from the cache, or incomplete
        return None
    return Path(found)
