"""Synthetic scenes as prose: a running text for language models, with what such texts have: names that come back,
speech in quotes, and answers that follow from what was said before. Knows no files.

    paragraph = who "looks at a picture." speech ("asks" question answer)*

Each paragraph is a line, about a scene of its own: `Mia looks at a picture. "A red ring and a blue star right of it,"
says Mia. "How many objects are there?" asks Tom. "2," says Mia.`
"""

from collections.abc import Iterator
from random import Random

from vlrnn.data.scene_language import captions
from vlrnn.data.scene_questions import ask
from vlrnn.data.scenes import sample_scene

NAMES = ("Mia", "Tom", "Ada", "Ben", "Eva", "Leo", "Zoe", "Max")

_QUESTIONS = 3  # of a paragraph, at most


def paragraphs(count: int, seed: int = 0) -> Iterator[str]:
    """So many paragraphs; the first of them are the same however many there are."""
    for number in range(count):
        yield paragraph(Random(f"{seed} prose {number}"))


def paragraph(rng: Random) -> str:
    """One paragraph, of a scene that is drawn."""
    scene = sample_scene(rng)
    teller, asker = rng.sample(NAMES, 2)
    (caption,) = captions(scene, rng, 1)
    said = [f"{teller} looks at a picture.", f'"{_capital(caption)}," says {teller}.']
    for question in ask(scene, rng, rng.randint(1, _QUESTIONS)):
        said.append(f'"{_capital(question.text)}?" asks {asker}.')
        said.append(f'"{_capital(question.answer)}," says {teller}.')
    return " ".join(said)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
