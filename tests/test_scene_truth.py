"""A caption of the grammar is true of its own scene, and any one wrong word makes it wrong."""

from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vlrnn.data.records import Example
from vlrnn.data.synthetic.captions import PHRASES, captions
from vlrnn.data.synthetic.scenes import COLOURS, INVERSE, SHAPES, SIZES, Scene, SceneObject, sample_scene
from vlrnn.errors import UserError
from vlrnn.probes.scene_truth import judge, scene_truth
from vlrnn.text.ptb_tokenizer import tokenize

SCENES = st.builds(lambda seed, held_out: sample_scene(Random(seed), held_out=held_out), st.integers(), st.booleans())
SCENE = Scene(
    (
        SceneObject("red", "circle", "large", 0.2, 0.3, 0.13),
        SceneObject("blue", "square", "small", 0.6, 0.2, 0.08),
        SceneObject("red", "star", "small", 0.7, 0.7, 0.08),
    ),
    "striped",
    0,
)
TRUE = "a red circle and a blue square right of it and a red star below it"


@given(SCENES, st.integers())
def test_every_caption_is_right_of_its_scene(scene: Scene, seed: int) -> None:
    for caption in captions(scene, Random(seed), count=10):
        assert judge(caption, scene).right
        assert judge(" ".join(tokenize(f"{caption.capitalize()}.")), scene).right


def replaced(caption: str, rng: Random, words: tuple[str, ...]) -> str | None:
    """One of the caption's words of this sort exchanged for another; None when it has none."""
    tokens = caption.split()
    places = [place for place, word in enumerate(tokens) if word in words]
    if not places:
        return None
    place = rng.choice(places)
    tokens[place] = rng.choice([word for word in words if word != tokens[place]])
    return " ".join(tokens)


@given(SCENES, st.integers(), st.sampled_from((COLOURS, SHAPES, tuple(SIZES))))
def test_a_wrong_colour_shape_or_size_is_wrong(scene: Scene, seed: int, words: tuple[str, ...]) -> None:
    rng = Random(seed)
    caption = replaced(captions(scene, rng)[0], rng, words)
    assume(caption is not None)
    assert not judge(str(caption), scene).right


@given(SCENES, st.integers())
def test_an_opposite_relation_is_wrong(scene: Scene, seed: int) -> None:
    for caption in captions(scene, Random(seed)):
        for name, phrases in PHRASES.items():
            for column, phrase in enumerate(phrases):
                if f" {phrase}" in caption:
                    turned = caption.replace(f" {phrase}", f" {PHRASES[INVERSE[name]][column]}", 1)
                    assert not judge(turned, scene).relations


@given(SCENES, st.integers())
def test_an_object_too_few_or_too_many_is_wrong(scene: Scene, seed: int) -> None:
    rng = Random(seed)
    if len(scene.objects) > 1:
        fewer = Scene(scene.objects[1:], scene.ground, scene.seed)
        assert not any(judge(caption, scene).right for caption in captions(fewer, rng))
        assert not any(judge(caption, fewer).right for caption in captions(scene, rng))


def test_parts_are_judged_apart() -> None:
    assert judge(TRUE, SCENE).right
    assert judge(
        "a small red star and a blue square over that and a large red circle left of that on a striped background",
        SCENE,
    ).right
    wrong_colour = judge(TRUE.replace("blue", "green"), SCENE)
    assert wrong_colour.shapes
    assert not wrong_colour.objects
    wrong_size = judge(TRUE.replace("blue", "large blue"), SCENE)
    assert wrong_size.objects
    assert wrong_size.relations
    assert not wrong_size.sizes
    wrong_ground = judge(f"{TRUE} on a plain background", SCENE)
    assert wrong_ground.sizes
    assert not wrong_ground.ground
    across = judge(TRUE.replace("right of", "below"), SCENE)
    assert across.objects
    assert not across.relations


def test_an_order_of_ones_own_is_judged_by_the_centres() -> None:
    assert judge("a blue square and a red circle left of it and a red star right of it", SCENE).right
    # Diagonal: both are to be seen.
    assert judge("a blue square and a red circle left of it and a red star below it", SCENE).right
    assert not judge("a blue square and a red circle left of it and a red star above it", SCENE).right


MALFORMED = [
    "",
    "a man rides a horse",
    "a red circle and a blue square",
    TRUE + " a",
    "\0\n<unk>",
    "a red circle and a red circle left of it",
]


def test_malformed_captions_are_wrong(subtests: pytest.Subtests) -> None:
    for text in MALFORMED:
        with subtests.test(text=text):
            assert not judge(text, SCENE).right


@given(st.text())
def test_no_text_crashes(text: str) -> None:
    assert not judge(text, SCENE).right


def test_share_over_a_corpus() -> None:
    held_out = Scene((SceneObject("red", "star", "large", 0.5, 0.5, 0.13),), "plain", 0)
    scenes = [SCENE, SCENE, held_out]
    examples = [Example(n, n, "x.png", attributes={"scene": scene.to_dict()}) for n, scene in enumerate(scenes)]
    scores = scene_truth([TRUE, "a red circle", "a red star"], examples)
    shares = {name: (score["value"], score["n"]) for name, score in scores.items()}
    # The first scene has a red star, too, so that all of these are scenes with a held-out pair.
    assert shares["right"] == shares["right_held_out"] == shares["objects"] == (pytest.approx(2 / 3), 3)
    assert (shares["right_of_1"], shares["right_of_3"], shares["readable"]) == ((1, 1), (0.5, 2), (1, 3))
    assert "right_familiar" not in shares


def test_intervals_are_of_the_share() -> None:
    """As wide as the binomial says, on the scenes of the group alone."""
    held_out = Scene((SceneObject("red", "star", "large", 0.5, 0.5, 0.13),), "plain", 0)
    familiar = Scene((SceneObject("red", "ring", "large", 0.5, 0.5, 0.13),), "plain", 0)
    scenes = [held_out] * 100 + [familiar] * 300
    examples = [Example(n, n, "x.png", attributes={"scene": scene.to_dict()}) for n, scene in enumerate(scenes)]
    score = scene_truth(["a red star", "a red cross"] * 200, examples)["right_held_out"]
    assert (score["value"], score["n"]) == (0.5, 100)
    assert 0.5 - 2.3 * 0.05 < score["low"] < 0.5 - 1.6 * 0.05
    assert 0.5 + 1.6 * 0.05 < score["high"] < 0.5 + 2.3 * 0.05


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(UserError, match="no scene"):
        scene_truth(["a"], [Example(1, 1, "x.png")])
    with pytest.raises(UserError, match="example 'a': not a synthetic scene"):
        scene_truth(["a"], [Example("a", 1, "x.png", attributes={"scene": 3})])
    with pytest.raises(UserError, match="no captions"):
        scene_truth([], [])
