"""What rows and dead letters are told in English, in the reader's words where the catalogue has them.

The catalogue's `said` has sentences as the service makes them, with names for what varies. A text is one of them or
several joined by "; ", each perhaps behind the fields that it is about ("Minutes: ") and the cell ("'abc' ").
"""

import re
from functools import cache
from typing import NamedTuple

from service.web.console.catalogue import texts

GROUP = "said."
ABOUT = r"(?P<about_>(?:[^;]{1,300}?: )?(?:(?:'[^']*'|\"[^\"]*\")(?:… \([\d,]+ characters\))? )?)"
PARTS = 8
"""A text is looked at as so many sentences at most."""
CHARACTERS = 600
"""Of a sentence; none of the service's is longer."""
VARIES = r"\{(\w+)\}"


class Sentence(NamedTuple):
    """In English as a pattern, and its fixed words; in the reader's language with the same names."""

    pattern: re.Pattern[str]
    fixed: tuple[str, ...]
    translated: str


def translated(language: str, text: str) -> str | None:
    """In this language; None where a part of it is not in the catalogue.

    Part by part where each is known: what varies at the end of a sentence would be taken to include the others.
    """
    sentences, parts = _sentences(language), text.split("; ", PARTS - 1)
    rests: list[list[str] | None] = [[]]
    """What follows, from each part on."""
    for begin in reversed(range(len(parts))):
        told = (
            [first, *rest]
            for count, rest in enumerate(rests, 1)
            if rest is not None and (first := _one(sentences, "; ".join(parts[begin : begin + count]))) is not None
        )
        rests.insert(0, next(told, None))
    return None if rests[0] is None else "; ".join(rests[0])


def _one(sentences: tuple[Sentence, ...], text: str) -> str | None:
    if len(text) > CHARACTERS:
        return None
    for sentence in sentences:
        found = sentence.pattern.fullmatch(text) if all(words in text for words in sentence.fixed) else None
        if found is not None:
            said = found.groupdict()
            return said.pop("about_") + sentence.translated.format(**said)
    return None


@cache
def _sentences(language: str) -> tuple[Sentence, ...]:
    """Those with more fixed words first, so that none is taken for a vaguer one."""
    said = [(name.removeprefix(GROUP), text) for name, text in texts(language).items() if name.startswith(GROUP)]
    said.sort(key=lambda one: -len(re.sub(VARIES, "", one[0])))
    return tuple(Sentence(_pattern(english), tuple(re.split(VARIES, english)[::2]), text) for english, text in said)


def _pattern(english: str) -> re.Pattern[str]:
    parts = re.split(VARIES, english)
    spelled = [f"(?P<{part}>.{{1,200}}?)" if number % 2 else re.escape(part) for number, part in enumerate(parts)]
    return re.compile(ABOUT + "".join(spelled), re.DOTALL)
