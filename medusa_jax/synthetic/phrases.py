"""Words of the generated utterances, and simulated recognition errors.

An utterance is a plain sentence with a remark, or the remark alone. The words of the remark carry
part of the emotion: some remarks belong to one class, some to a pleasant or unpleasant mood, some
to none, and a few to another class. All text was written for this project; every share is an
assumption, not an estimate from a corpus.
"""

import re

import numpy as np

from medusa_jax.corpus.labels import CLASSES

_SLOTS = {
    "who": (
        "my neighbor", "the teacher", "our manager", "a friend", "my brother",
        "the woman at the desk", "somebody", "the driver", "my cousin",
        "the new guy", "your sister", "the landlord",
    ),
    "thing": (
        "box", "report", "bicycle", "letter", "ticket", "camera", "table", "phone", "book",
        "ladder", "jacket", "computer", "window", "chair",
        "package", "map",
    ),
    "place": (
        "kitchen", "station", "office", "garden", "library", "hotel", "corner store",
        "second floor", "bank", "parking lot", "market", "school",
    ),
    "time": (
        "yesterday", "last week", "on Monday", "this morning", "before lunch",
        "after the meeting", "a month ago", "at noon", "in the evening",
        "around nine",
    ),
    "number": ("two", "three", "four", "five", "ten", "twenty", "thirty"),
}  # fmt: skip
_SENTENCES = (
    "{who} put the {thing} in the {place} {time}", "we went to the {place} {time}",
    "I talked to {who} about the {thing}", "{who} called me {time}",
    "the {thing} is still in the {place}", "there were {number} people at the {place}",
    "{who} wants to see the {thing}",
    "I saw {who} near the {place} {time}", "they moved the {thing} from the {place}",
    "it took about {number} minutes to get to the {place}",
    "{who} asked for the {thing} {time}", "so I opened the {thing} {time}",
    "the {place} has {number} rooms",
    "you can leave the {thing} at the {place}", "and then {who} walked into the {place}",
    "we have known {who} for {number} years",
    "I read about the {place} {time}", "{who} told me to bring the {thing}",
    "the {thing} came back {time}", "he said that {who} has the {thing}",
    "they spent {number} hours in the {place}", "it was {who} who found the {thing}",
    "she works at the {place} with {who}",
    "we talked for {number} minutes {time}", "I was at the {place} when {who} came in",
    "this is what {who} wrote {time}",
)  # fmt: skip
_PLAIN = (
    "as far as I remember", "more or less", "like I said before", "and so on",
    "that is how it works", "on the way to work",
    "it is on the second page", "if I recall correctly", "which is about average",
    "and that was it", "you know what I mean", "in the usual way",
    "and we will see", "or something like that", "just like the year before",
    "we do that every week", "it depends on the weather",
    "at least that is the plan", "between you and me", "for the most part",
)  # fmt: skip
_PLEASANT = (
    "which was nice", "it turned out really well", "I liked that a lot", "that was good for us",
    "it felt right", "they did a great job",
    "what a beautiful place", "it is my favorite", "we enjoyed it", "that is really kind",
    "and it worked perfectly", "I am lucky to have them",
)  # fmt: skip
_UNPLEASANT = (
    "which was bad", "it all went wrong", "I did not like that", "that was hard on us",
    "it was a terrible idea", "it is a real problem",
    "that is the worst part", "it ruined everything", "and nobody helped", "I hate that place",
    "we were in trouble", "it never works",
)  # fmt: skip
_REMARKS = {
    "angry": (
        "I have had enough of this", "stop telling me what to do", "that makes me furious",
        "this is so unfair", "how dare they",
        "I am sick of these excuses", "nobody ever listens to me", "they lied to my face",
        "I want my money back now",
        "do not talk to me like that", "I am so mad at them", "shut up and listen",
    ),
    "sad": (
        "I miss the way it was", "it breaks my heart", "I still cry about it",
        "we lost her last spring", "nothing feels right anymore",
        "I feel so alone", "he never came home", "there is no hope left",
        "I wish I could say goodbye", "it hurts every day",
        "I am sorry for your loss", "she was gone too soon",
    ),
    "happy": (
        "I love this so much", "it was a wonderful day", "we laughed all night",
        "this is the best news", "I am so glad you came",
        "what a great party", "I could not be happier", "we won and everybody cheered",
        "thank you that is so sweet", "it makes me smile",
        "I am excited about it", "that was so much fun",
    ),
    "surprise": (
        "I did not expect that at all", "wait what really", "oh wow no way",
        "I cannot believe it", "it came out of nowhere", "you are kidding me",
        "since when is that true", "who would have thought", "that came as a shock",
        "and suddenly it was there", "oh my goodness", "I had no idea",
    ),
    "fear": (
        "I am scared to go back", "what if they find us", "please do not leave me here",
        "something is out there in the dark",
        "my hands were shaking", "I was afraid for my life", "we have to run",
        "I cannot breathe in there", "it could happen again",
        "I worry about it every night", "it is not safe", "somebody is following me",
    ),
    "disgust": (
        "that smell makes me sick", "it was so gross", "I could not swallow it",
        "there was mold on everything", "the filthy floor was sticky",
        "get it away from me", "it tasted rotten", "that is just nasty",
        "I felt like throwing up", "who would eat that", "it stinks in here",
        "what a disgusting mess",
    ),
    "contempt": (
        "they think they are so clever", "what a pathetic little show",
        "I expected nothing better from him", "of course they have no clue",
        "some people never learn", "he calls himself an expert", "it is beneath me",
        "as if anybody cared", "such a joke of a company",
        "good for them I guess", "what a bunch of clowns", "she thinks she is important",
    ),
    "neutral": _PLAIN,
}  # fmt: skip

_OWN_REMARK, _MOOD_REMARK, _MISLEADING = 0.76, 0.08, 0.05
"""Shares of remarks that show the class, its valence only, or another class; the rest: none."""

_SHORT = 0.5
"""Share of utterances with the remark alone, among those of five words or more."""

_SOUNDS_LIKE = {
    "the": "a", "a": "the", "in": "and", "and": "in", "our": "are", "are": "our",
    "there": "their", "they": "there", "to": "two", "two": "to",
    "for": "four", "four": "for", "know": "no", "here": "hear", "right": "write", "week": "weak",
    "it": "that", "is": "was", "was": "is",
    "we": "he", "he": "we", "had": "have", "read": "red", "wait": "weight", "new": "knew",
    "him": "them", "them": "him", "that": "it", "of": "off",
    "so": "such", "see": "sea", "not": "now", "scared": "scarred", "mad": "bad", "sad": "said",
    "gross": "grows", "sick": "six", "miss": "this",
    "love": "of", "glad": "had", "hate": "ate", "party": "part",
}  # fmt: skip
_WORD_ERRORS = 0.07
"""Word error rate, about that of a large recogniser on conversational podcasts."""


def utterance_text(emotion: str, valence: float, rng: np.random.Generator) -> str:
    """A random transcript, capitalised, with a full stop.

    `emotion` is one of `CLASSES`; `valence`, −1 to 1, sets the mood of vague remarks.
    """
    sentence = str(rng.choice(_SENTENCES))
    for slot, words in _SLOTS.items():
        sentence = sentence.replace("{" + slot + "}", str(rng.choice(words)))
    parts = [sentence, _frequent(_remarks(emotion, valence, rng), rng)]
    if rng.random() < _SHORT and len(parts[1].split()) > 4:
        parts = parts[1:]
    elif rng.random() < 0.25:
        parts.reverse()
    text = ", ".join(parts)
    return text[0].upper() + text[1:] + "."


def _frequent(remarks: tuple[str, ...], rng: np.random.Generator) -> str:
    # Zipf's law: the first phrases of a pool are the most frequent.
    weight = 1 / np.arange(1.0, len(remarks) + 1)
    return remarks[rng.choice(len(remarks), p=weight / weight.sum())]


def _remarks(emotion: str, valence: float, rng: np.random.Generator) -> tuple[str, ...]:
    kind, pleasant = rng.random(), rng.random() < (1 + valence) / 2
    if kind < _OWN_REMARK:
        return _REMARKS[emotion]
    if kind < _OWN_REMARK + _MOOD_REMARK:
        return _PLEASANT if pleasant else _UNPLEASANT
    if kind < _OWN_REMARK + _MOOD_REMARK + _MISLEADING:
        return _REMARKS[str(rng.choice(CLASSES))]
    return _PLAIN


def recognised(transcript: str, rng: np.random.Generator) -> str:
    """`transcript` with recognition errors: similar-sounding words, deletions, repetitions."""
    heard: list[str] = []
    for word in transcript.split():
        if rng.random() >= _WORD_ERRORS:
            heard.append(word)
            continue
        bare = re.sub(r"\W", "", word).lower()
        if bare in _SOUNDS_LIKE:
            heard.append(word.lower().replace(bare, _SOUNDS_LIKE[bare]))
        elif rng.random() < 0.3:
            heard += [word, bare]
    return " ".join(heard)
