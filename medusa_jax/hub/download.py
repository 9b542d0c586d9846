"""Download models from the hub: one commit, only the needed files, checked by the hub's digests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from medusa_jax.errors import FeatureError
from medusa_jax.files import locked, sha256_of
from medusa_jax.hub.catalogue import hub_id_of
from medusa_jax.hub.convert import PICKLED, convert
from medusa_jax.hub.model_folder import INDEX, NEEDED, check_fits
from medusa_jax.hub.record import RECORD, Record, folder_of

_AGAIN = "run the same command again: files already downloaded are kept"


@dataclass(frozen=True)
class _Listing:
    """A commit and its files, with the SHA-256 of those for which the hub keeps one."""

    commit: str
    files: Mapping[str, str | None]


def fetch(
    model: str, under: Path, *, revision: str | None = None, converting: bool = False
) -> Path:
    """Download an entry, or `hf:<hub id>`, to its folder below `under` and return that folder.

    A model that is already there is kept. `revision` replaces the entry's commit or the main
    branch; the commit it resolves to is recorded. With `converting`, PyTorch's weights are
    converted where the commit has no safetensors. Raises `FeatureError` if the model is missing,
    gated, unreachable, without safetensors, altered on the way, or another model than wanted.
    """
    hub_id, pinned = hub_id_of(model)
    folder, wanted = folder_of(model, under), revision or pinned
    record = Record.load(folder)
    if record is not None and wanted in (None, record.revision):
        check_whole(folder, record)
        return folder
    with _explained(hub_id):
        listing = _listing(hub_id, wanted)
    weights = _weights(model, hub_id, listing, converting)
    others = {name for name in listing.files if _needed(name) and "safetensors" not in name}
    with locked(folder):
        _fill(model, hub_id, listing, sorted(others | set(weights)), folder)
    return folder


def _fill(model: str, hub_id: str, listing: _Listing, names: list[str], folder: Path) -> None:
    """Download `names` into `folder`, convert pickled weights, and write the record."""
    (folder / RECORD).unlink(missing_ok=True)  # the folder is incomplete from here on
    _clear(folder, names)
    _download(hub_id, listing, names, folder)
    converted = PICKLED in names
    if converted:
        names[names.index(PICKLED)] = convert(folder).name
        (folder / PICKLED).unlink()
    check_fits(model, folder)
    files = {name: sha256_of(folder / name) for name in names}
    Record(hub_id=hub_id, revision=listing.commit, files=files, converted=converted).save(folder)


def check_whole(folder: Path, record: Record) -> None:
    """Raise `FeatureError` naming the first file that is missing or has changed since."""
    for name, digest in record.files.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            what = "has changed since it was fetched" if path.is_file() else "is missing"
            raise FeatureError(
                f"{name} {what}", where=folder, hint=f"remove {folder} and fetch the model again"
            )


def _listing(hub_id: str, revision: str | None) -> _Listing:
    from huggingface_hub import HfApi

    info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
    files = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or ()}
    return _Listing(str(info.sha), files)


def _needed(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in NEEDED)


def _weights(model: str, hub_id: str, listing: _Listing, converting: bool) -> list[str]:
    """Choose the weight files: one safetensors file, several with their index, or PyTorch's.

    Raises `FeatureError` if there is nothing to choose.
    """
    if "model.safetensors" in listing.files:
        return ["model.safetensors"]
    parts = [name for name in listing.files if fnmatch(name, "model-*.safetensors")]
    if parts:
        return [*parts, INDEX]
    where = f"{hub_id} at commit {listing.commit}"
    if PICKLED not in listing.files:
        raise FeatureError(
            "there are no safetensors weights, nor any that can be converted",
            where=where,
            hint="name another revision or model",
        )
    if not converting:
        raise FeatureError(
            "there are no safetensors weights; pickled weights are never loaded",
            where=where,
            hint=f"run medusa models fetch {model} --convert to read only the tensors of its "
            f"{PICKLED} and write them as safetensors",
        )
    return [PICKLED]


def _clear(folder: Path, names: list[str]) -> None:
    """Remove files of another commit or of an interrupted download."""
    for path in folder.iterdir():
        if path.is_file() and _needed(path.name) and path.name not in names:
            path.unlink()


def _download(hub_id: str, listing: _Listing, names: list[str], folder: Path) -> None:
    """Download the files, keeping those of an earlier attempt, and check the hub's digests."""
    from huggingface_hub import snapshot_download

    with _explained(hub_id):
        snapshot_download(hub_id, revision=listing.commit, allow_patterns=names, local_dir=folder)
    for name in names:
        digest, path = listing.files[name], folder / name
        if not path.is_file():
            raise FeatureError(
                f"the download is incomplete: {name} is missing", where=folder, hint=_AGAIN
            )
        if digest is not None and sha256_of(path) != digest:
            path.unlink()
            raise FeatureError(
                f"{name} does not match the hub's digest and was removed",
                where=folder,
                hint="run the same command again",
            )


_TROUBLES = (
    (
        "HFValidationError",
        "this is neither an entry nor a hub id",
        "`medusa models list` shows the entries; or give hf:OWNER/NAME",
    ),
    (
        "GatedRepoError",
        "the model is gated: its owner requires agreement to terms",
        "agree on the model's page on the hub, then run: hf auth login",
    ),
    (
        "RevisionNotFoundError",
        "the model has no such revision",
        "correct it: a branch, tag or commit",
    ),
    (
        "RepositoryNotFoundError",
        "the hub has no such model, or it is private",
        "check the name; for a private model run: hf auth login",
    ),
    (
        "OfflineModeIsEnabled",
        "downloads are disabled by HF_HUB_OFFLINE",
        "unset HF_HUB_OFFLINE, or copy the model's folder to this machine",
    ),
)


@contextmanager
def _explained(hub_id: str) -> Iterator[None]:
    """Turn any error of the hub's client into a `FeatureError` that names the cause."""
    from huggingface_hub import errors

    try:
        yield
    except Exception as error:
        for name, what, hint in _TROUBLES:
            if isinstance(error, getattr(errors, name)):
                raise FeatureError(what, where=hub_id, hint=hint) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FeatureError(
            f"the hub cannot be reached, or the connection broke: {reason}",
            where=hub_id,
            hint=f"check the connection and {_AGAIN}",
        ) from error
