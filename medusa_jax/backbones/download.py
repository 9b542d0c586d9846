"""Models from the hub to a folder of this machine: one commit, the files that are needed, each held against the hub's own digest."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from medusa_jax.backbones.catalogue import hub_id_of
from medusa_jax.backbones.model_folder import INDEX, NEEDED, check_fits
from medusa_jax.backbones.record import RECORD, Record, folder_of
from medusa_jax.backbones.torch_weights import PICKLED, convert
from medusa_jax.errors import FeatureError
from medusa_jax.files import locked, sha256_of


@dataclass(frozen=True)
class _Listing:
    """A commit and its files, with the SHA-256 of those that the hub keeps one of."""

    commit: str
    files: Mapping[str, str | None]


def fetch(
    model: str, under: Path, *, revision: str | None = None, converting: bool = False
) -> Path:
    """Download an entry, or `hf:<hub id>`, to its folder below `under` and return that; a model that is there already is kept.

    `revision` takes the place of the entry's commit, or of the main branch; the commit that it is now is recorded, and stays.
    `converting`: where the commit has no safetensors, take PyTorch's weights and convert them. Raises `FeatureError` saying
    which: not found, gated, no connection, no safetensors, not what the hub lists, or not the model that was meant.
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
    names = sorted(
        {name for name in listing.files if _needed(name) and "safetensors" not in name}
        | set(weights)
    )
    with locked(folder):
        (folder / RECORD).unlink(missing_ok=True)  # from here on the folder is not whole
        _clear(folder, names)
        _download(hub_id, listing, names, folder)
        if PICKLED in names:
            names[names.index(PICKLED)] = convert(folder).name
            (folder / PICKLED).unlink()
        check_fits(model, folder)
        files = {name: sha256_of(folder / name) for name in names}
        Record(
            hub_id=hub_id, revision=listing.commit, files=files, converted=PICKLED in weights
        ).save(folder)
    return folder


def check_whole(folder: Path, record: Record) -> None:
    """Raise `FeatureError` naming the first file that is not as it was fetched."""
    for name, digest in record.files.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            what = "is missing" if not path.is_file() else "is not as it was fetched"
            raise FeatureError(
                f"{name} {what}", where=folder, hint=f"remove {folder} and fetch the model again"
            )


def _listing(hub_id: str, revision: str | None) -> _Listing:
    from huggingface_hub import HfApi

    info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
    return _Listing(
        str(info.sha),
        {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or ()},
    )


def _needed(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in NEEDED)


def _weights(model: str, hub_id: str, listing: _Listing, converting: bool) -> list[str]:
    """The files of weights to take: safetensors in one file, or in several with their index; or PyTorch's, if they may be converted.

    Raises `FeatureError` if there is nothing to take.
    """
    whole, parts = (
        "model.safetensors",
        [name for name in listing.files if fnmatch(name, "model-*.safetensors")],
    )
    if whole in listing.files or parts:
        return [whole] if whole in listing.files else [*parts, INDEX]
    where = f"{hub_id} at commit {listing.commit}"
    if PICKLED not in listing.files:
        raise FeatureError(
            "there are no safetensors weights, nor any that can be converted",
            where=where,
            hint="name another revision or model",
        )
    if not converting:
        hint = f"medusa models fetch {model} --convert takes its {PICKLED}, reads the tensors alone, and writes safetensors"
        raise FeatureError(
            "there are no safetensors weights; pickled ones are never loaded",
            where=where,
            hint=hint,
        )
    return [PICKLED]


def _clear(folder: Path, names: list[str]) -> None:
    """Remove what another commit, or an attempt that was broken off, left behind."""
    for path in folder.iterdir():
        if path.is_file() and _needed(path.name) and path.name not in names:
            path.unlink()


def _download(hub_id: str, listing: _Listing, names: list[str], folder: Path) -> None:
    """The files, those of an earlier attempt kept; then each against the hub's digest."""
    from huggingface_hub import snapshot_download

    with _explained(hub_id):
        snapshot_download(hub_id, revision=listing.commit, allow_patterns=names, local_dir=folder)
    for name in names:
        digest, path = listing.files[name], folder / name
        if not path.is_file():
            raise FeatureError(
                f"the download is not whole: {name} is missing",
                where=folder,
                hint="run the same command again: what is here is kept",
            )
        if digest is not None and sha256_of(path) != digest:
            path.unlink()
            raise FeatureError(
                f"{name} is not what the hub lists, and was removed",
                where=folder,
                hint="run the same command again",
            )


_TROUBLES = (
    (
        "HFValidationError",
        "this is no entry and no hub id",
        "`medusa models list` shows the entries; or give hf:OWNER/NAME",
    ),
    (
        "GatedRepoError",
        "the model is gated: its owner wants you to agree to terms",
        "agree on the model's page on the hub, then: hf auth login",
    ),
    (
        "RevisionNotFoundError",
        "the model has no such revision",
        "correct it: a branch, tag or commit",
    ),
    (
        "RepositoryNotFoundError",
        "the hub has no such model, or it is private",
        "check the name; for a private one: hf auth login",
    ),
    (
        "OfflineModeIsEnabled",
        "downloads are switched off by HF_HUB_OFFLINE",
        "unset HF_HUB_OFFLINE, or copy the model's folder here",
    ),
)


@contextmanager
def _explained(hub_id: str) -> Iterator[None]:
    """Say which of the hub's troubles it is."""
    from huggingface_hub import errors

    try:
        yield
    except Exception as error:  # whatever the hub's client and what it rests on raise
        for name, what, hint in _TROUBLES:
            if isinstance(error, getattr(errors, name)):
                raise FeatureError(what, where=hub_id, hint=hint) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "check the connection and run the same command again: what is here is kept"
        raise FeatureError(
            f"the hub cannot be reached, or broke off: {reason}", where=hub_id, hint=hint
        ) from error
