"""On what terms the corpora may be used, as far as who passes on a trained model must know it: pointers, not legal advice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """A corpus's licence: its identifier on the Hugging Face hub (`other`: none), its name, its terms in a sentence or two, where it stands.

    `speech` says in a few words what kind of speech the corpus is, `language` is its ISO 639-1 code.
    """

    hub: str
    called: str
    terms: str
    source: str
    speech: str
    language: str | None = "en"


_MSP = Licence(
    "other",
    "MSP-Podcast academic licence",
    "Licensed institution by institution, by a signed agreement with the University of Texas at Dallas; neither audio nor labels nor transcripts "
    "may be passed on. Whether weights trained on it may be published, and for which uses, is for that agreement to say: read it first.",
    "the MSP lab, University of Texas at Dallas",
    "spontaneous speech from podcasts, emotions as crowd workers perceived them",
)
_LICENCES = {
    "msp-podcast": _MSP,
    "medusa-csv": _MSP,
    "ravdess": Licence(
        "cc-by-nc-sa-4.0",
        "CC BY-NC-SA 4.0",
        "Attribution (Livingstone & Russo 2018), no commercial use, derived works under the same licence.",
        "Zenodo record 1188976",
        "two sentences acted by 24 professional actors, emotions as the actors intended them",
    ),
    "crema-d": Licence(
        "odbl",
        "ODbL 1.0, its contents DbCL 1.0",
        "Attribution; a database derived from it that is made public stays under the ODbL.",
        "CheyneyComputerScience/CREMA-D",
        "twelve sentences acted by 91 actors, emotions as crowd workers perceived them",
    ),
    "generated": Licence(
        "other",
        "generated with medusa-jax",
        "Synthetic speech made by the program itself; no person spoke it. Its simulated raters rest on shares counted in CREMA-D's votes (ODbL 1.0).",
        "medusa_jax/synthetic/generate.py",
        "synthetic speech, emotions as simulated raters hear them",
    ),
}


def licence_of(corpus: str) -> Licence:
    """The terms of the corpus of that name (`Corpus.name`); for one that is not known, that they are not."""
    unknown = Licence(
        "other",
        "not known to this program",
        "Look up the corpus's terms before you share anything trained on it.",
        "its makers",
        "speech",
        None,
    )
    return _LICENCES.get(corpus, unknown)
