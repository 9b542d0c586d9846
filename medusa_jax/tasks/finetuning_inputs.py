"""The encoders of a member that fine-tunes them, and the parts of utterances that they read."""

from collections.abc import Mapping
from pathlib import Path

from medusa_jax.audio.chunks import FRAMES_A_SECOND
from medusa_jax.audio.decode import RATE
from medusa_jax.backbones import speech_config, whisper_config
from medusa_jax.backbones.pretrained import encoder_flops
from medusa_jax.config.finetuning import FinetuningConfig
from medusa_jax.config.training import MemberConfig
from medusa_jax.corpus.table import GENDERS
from medusa_jax.errors import ConfigError, TrainingError
from medusa_jax.files import digest_of
from medusa_jax.hub.catalogue import short_name
from medusa_jax.hub.locate import locate
from medusa_jax.hub.model_folder import digests, read_settings
from medusa_jax.store.reader import FeatureStore
from medusa_jax.tasks.dialogues import Dialogues
from medusa_jax.tasks.utterances import Utterances


def crops_of(config: FinetuningConfig, widths: Mapping[str, int]) -> dict[str, int]:
    """The longest part of an utterance that is read, by modality of an encoder: samples, or frames
    of its convolutions.
    """
    return {
        name: round(config.crop_seconds * (RATE if widths[name] == 1 else FRAMES_A_SECOND))
        for name in config.backbones
    }


def encoders_of(config: FinetuningConfig) -> dict[str, dict[str, str]]:
    """By modality the encoder's name, and a digest of the files that its numbers follow from."""
    found = {}
    for name, model in config.backbones.items():
        files = digest_of(digests(locate(model, None, offline=True)))
        found[name] = {"model": short_name(model), "files": files}
    return found


def finetuned_flops(
    config: FinetuningConfig, widths: Mapping[str, int], lengths: Mapping[str, int]
) -> float:
    """Operations of the encoders on one utterance of such padded lengths, forward; what is longer
    than a crop is computed in windows.
    """
    total = 0.0
    crops = crops_of(config, widths)
    for name, model in config.backbones.items():
        folder, wave = locate(model, None, offline=True), widths[name] == 1
        windows = -(-lengths[name] // crops[name])
        most = min(lengths[name], crops[name])
        frames = most * FRAMES_A_SECOND / RATE if wave else most
        total += windows * encoder_flops(folder, frames, wave, config.window)
    return total


def check_inputs(config: MemberConfig, data: Utterances | Dialogues) -> None:
    """Raise `ConfigError` if an encoder cannot read its modality, and `TrainingError` if genders
    or secondary emotions are asked for that no training utterance has.
    """
    own = config.finetuning
    if config.task != "finetuning" or own is None or isinstance(data, Dialogues):
        return
    stores = dict(zip(data.examples.modalities, data.examples.stores, strict=True))
    for name in own.backbones:
        _check_encoder(own, f"member {config.id}", name, stores[name])
    uses_gender = own.gender != "none" or own.gender_loss > 0
    if uses_gender and not (data.examples.gender[data.fit] < len(GENDERS)).any():
        raise TrainingError(
            "no training utterance has a gender",
            where=f"member {config.id}: finetuning.gender and gender_loss",
            hint="set gender: none and gender_loss: 0, or name genders in the corpus",
        )
    named = data.examples.secondary
    if own.secondary_loss > 0 and (named is None or not named[data.fit].any()):
        raise TrainingError(
            "no training utterance has secondary emotions",
            where=f"member {config.id}: finetuning.secondary_loss",
            hint="set secondary_loss: 0, or use a corpus whose raters named them",
        )


def _check_encoder(own: FinetuningConfig, where: str, name: str, store: FeatureStore) -> None:
    """Raise `ConfigError` unless the encoder of a modality can read its store."""
    model = own.backbones[name]
    folder = locate(model, None, offline=True)
    whisper = read_settings(folder).get("model_type") == whisper_config.KIND
    if store.width != 1 and (whisper or not _own_frames(store, folder)):
        also = "" if whisper else ", or huggingface with this model, layers: conv, backend: flax"
        raise ConfigError(
            f"{name!r} ({_said(store)}) is not what {short_name(model)} reads",
            where=f"{where}: finetuning.backbones.{name}",
            hint=f"name a feature of the extractor waveform{also}",
        )
    longest = whisper_config.read_config(folder).window / RATE if whisper else own.crop_seconds
    if own.crop_seconds > longest:
        raise ConfigError(
            f"{short_name(model)} takes at most {longest:g} s of audio, not {own.crop_seconds:g}",
            where=f"{where}: finetuning.crop_seconds",
            hint=f"set it to {longest:g} or less; evaluation: windows covers longer audio",
        )


def _own_frames(store: FeatureStore, folder: Path) -> bool:
    """Tell whether a store holds frames of this model's convolutions, as far as it is known."""
    if store.width != speech_config.read_config(folder).conv_dim[-1]:
        return False
    made = store.plan.extractor
    if made.get("extractor") == "imported":
        return True
    return made.get("layers") == "conv" and made.get("files") == digests(folder)


def _said(store: FeatureStore) -> str:
    """A store in words."""
    made = store.plan.extractor
    parts = (made.get("model", made.get("extractor", "unknown")), made.get("layers"))
    return f"{', '.join(str(part) for part in parts if part)}, {store.width} wide"
