"""Models as they are used from Python: pipelines in Hugging Face's forms, `generate`, loading, `Trainer.predict`."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from test_vqa_tasks import ANSWERS, EXAMPLES, VOCABULARY, classifier, generative
from torch.utils.data import DataLoader

import vlrnn
from vlrnn.data.batches import QuestionedImages, collate
from vlrnn.data.records import open_split, write_dataset
from vlrnn.data.split_index import SplitImages
from vlrnn.errors import UserError
from vlrnn.inference.pipeline import VisualQuestionAnswering
from vlrnn.tasks.vqa import PriorVQA
from vlrnn.text.tokenizers import CharTokenizer
from vlrnn.text.vocabulary import AnswerPrior
from vlrnn.training.module import Task

QUESTION = "what color is it"


@pytest.fixture
def images(photos: Path) -> list[Path]:
    return sorted(photos.iterdir())


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("a dog runs home\n" * 400)
    return tmp_path / "text.txt"


def language_model(data: vlrnn.TextDataModule) -> vlrnn.LanguageModel:
    decoder = vlrnn.RecurrentLanguageModel(vlrnn.GRU(8), embedding_dim=8)
    return vlrnn.LanguageModel(data.vocabulary, data.tokenizer, decoder, vlrnn.GenerationConfig(max_new_tokens=4))


VQA = {"classifier": classifier, "generative": generative}


# Pipelines.


def test_captions_have_the_form_of_image_to_text(checkpoints: Any, images: list[Path]) -> None:
    captioner = vlrnn.pipeline("image-captioning", checkpoints.folder, "cpu")
    expected = [captioner.predictor.caption(image).text for image in images]
    assert captioner(images[0]) == [{"generated_text": expected[0]}]
    assert captioner(images, batch_size=2) == [[{"generated_text": text}] for text in expected]
    found = captioner(images[0], num_beams=3, generate_kwargs={"num_return_sequences": 2})
    assert [each.keys() for each in found] == [{"generated_text"}] * 2
    with pytest.raises(UserError, match="absent"):
        captioner(["absent.png"])


@pytest.mark.parametrize("head", list(VQA))
def test_answers_have_the_form_of_visual_question_answering(head: str, images: list[Path]) -> None:
    pipe = vlrnn.pipeline("visual-question-answering", VQA[head](), "cpu")
    best = pipe.predictor.answer(images[0], QUESTION)
    found = pipe(images[0], QUESTION, top_k=1)
    assert found == [{"score": best.score, "answer": best.text}]
    assert pipe({"image": images[0], "question": QUESTION}, top_k=1) == found
    assert pipe(images[:2], [QUESTION, "is it dark"], top_k=1)[0] == found
    assert len(pipe(images[:2], [QUESTION, "is it dark"])) == 4
    with pytest.raises(UserError, match="give image= and question="):
        pipe(images[0])


def test_top_k_is_the_number_of_answers_best_first(images: list[Path]) -> None:
    pipe = VisualQuestionAnswering(vlrnn.Predictor(classifier(), "cpu"))
    for given, count in ((None, 5), (3, 3), (1000, len(ANSWERS))):
        scores = [each["score"] for each in pipe(images[0], QUESTION, top_k=given)]
        assert len(scores) == count
        assert scores == sorted(scores, reverse=True)
    with pytest.raises(UserError, match="top_k must be at least 1"):
        pipe(images[0], QUESTION, top_k=0)


def test_texts_have_the_form_of_text_generation(text_file: Path) -> None:
    writer = vlrnn.pipeline("text-generation", language_model(vlrnn.TextDataModule(str(text_file), CharTokenizer())))
    (found,) = writer("a dog")
    (continuation,) = writer("a dog", return_full_text=False)
    assert found == {"generated_text": "a dog" + continuation["generated_text"]}
    assert len(continuation["generated_text"]) == 4
    assert writer(["a dog", "a"])[0] == [found]


def test_a_pipeline_for_another_task_is_refused(checkpoints: Any) -> None:
    with pytest.raises(UserError, match="is for the pipeline 'image-to-text'"):
        vlrnn.pipeline("visual-question-answering", checkpoints.folder)
    with pytest.raises(UserError, match="there is no pipeline 'summarization'; there are image-captioning, "):
        vlrnn.pipeline("summarization", checkpoints.folder)


# Tasks.


def test_generate_takes_images_in_every_form(checkpoints: Any, images: list[Path]) -> None:
    task = vlrnn.from_pretrained(checkpoints.folder)
    expected = [each.text for each in task.generate(images, num_beams=2)]
    assert expected == [vlrnn.Predictor(task, "cpu").caption(image, num_beams=2).text for image in images]
    arrays = np.stack([np.asarray(Image.open(image)) for image in images])
    for same in (arrays, torch.from_numpy(arrays).permute(0, 3, 1, 2), [Image.open(image) for image in images]):
        assert [each.text for each in task.generate(same, num_beams=2)] == expected
    with pytest.raises(UserError, match=r"Captioner\.generate takes images alone"):
        task.generate(images, [QUESTION] * 3)


@pytest.mark.parametrize("head", list(VQA))
def test_generate_answers_questions(head: str, images: list[Path]) -> None:
    task = VQA[head]().eval()
    questions = [QUESTION, "is it dark", "what is it"]
    expected = [
        vlrnn.Predictor(task, "cpu").answer(image, each).text for image, each in zip(images, questions, strict=True)
    ]
    assert [each.text for each in task.generate(images, questions)] == expected
    assert len(task.generate(images[:1], questions)) == 3
    with pytest.raises(UserError, match="2 questions about 3 images"):
        task.generate(images, questions[:2])


def test_a_checkpoint_is_loaded_without_its_class_and_refused_by_another(checkpoints: Any) -> None:
    for path in (checkpoints.folder, checkpoints.file):
        assert type(vlrnn.from_pretrained(path)) is vlrnn.Captioner
        for more in ({}, {"strict": True, "map_location": torch.device("cpu")}, {"map_location": None}):
            assert type(vlrnn.Captioner.load_from_checkpoint(path, **more)) is vlrnn.Captioner
        for bad in ({"strict": False}, {"weights_only": False}, {"map_location": {"cuda:0": "cpu"}}):
            with pytest.raises(UserError, match=next(iter(bad))):
                vlrnn.Captioner.load_from_checkpoint(path, **bad)
        with pytest.raises(UserError, match=r"Captioner.*LanguageModel") as error:
            vlrnn.LanguageModel.load_from_checkpoint(path)
        assert "\n" not in str(error.value)


def test_a_predictor_takes_several_images_and_names_the_nearest_setting(checkpoints: Any, photos: Path) -> None:
    predictor, images = vlrnn.Predictor.load(checkpoints.file, "cpu"), sorted(photos.iterdir())
    alone = [predictor(each, num_beams=2) for each in images]
    assert [each.text for each in predictor(images, num_beams=2)] == [each.text for each in alone]
    with pytest.raises(UserError, match=r"no such file|cannot be read"):
        predictor([*images, photos / "absent.png"])
    for call in (predictor, predictor.captions, vlrnn.pipeline("image-to-text", predictor)):
        with pytest.raises(UserError, match="no setting of generation num_beam; did you mean num_beams"):
            call(images, num_beam=2)


# Trainer.predict.


def predict(task: Task, tmp_path: Path, **data: Any) -> list[vlrnn.Prediction]:
    with warnings.catch_warnings(action="ignore"):
        trainer = pl.Trainer(
            accelerator="cpu",
            default_root_dir=tmp_path,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        batches = trainer.predict(task, **data)
    assert batches is not None
    return [prediction for batch in batches for prediction in batch]


def test_trainer_predicts_captions(checkpoints: Any, dataset: Path, tmp_path: Path) -> None:
    data = vlrnn.VisionLanguageData(str(dataset), batch_size=1)
    task = vlrnn.from_pretrained(checkpoints.folder)
    found = predict(task, tmp_path, datamodule=data)
    paths = [dataset / each.image for each in open_split(dataset, "test")]
    assert [each.text for each in found] == [each.text for each in task.generate(paths)]


@pytest.mark.parametrize("head", [*VQA, "prior"])
def test_trainer_predicts_answers(head: str, dataset: Path, tmp_path: Path) -> None:
    examples = [replace(each, image=f"images/{colour}_left.png") for each in EXAMPLES for colour in ["red"]]
    write_dataset(
        tmp_path / "questions",
        {"train": [], "val": [], "test": examples},
        name="few",
        source="made by the tests",
        licence="CC0",
        image_root=str(dataset),
    )
    task = PriorVQA(VOCABULARY, ANSWERS, AnswerPrior({"what": {"red": 1}})) if head == "prior" else VQA[head]().eval()
    data = vlrnn.VisionLanguageData(str(tmp_path / "questions"), batch_size=3)
    found = predict(task, tmp_path, datamodule=data)
    assert [each.id for each in found] == [each.id for each in examples]
    questions = QuestionedImages(
        examples,
        SplitImages(examples).of_example,
        encode=VOCABULARY.encode_text,
        locate=dataset.joinpath,
        size=task.encoder.image_size,
    )
    loader = DataLoader(questions, batch_size=3, collate_fn=collate)
    assert predict(task, tmp_path, dataloaders=loader) == found


def test_trainer_predicts_texts(text_file: Path, tmp_path: Path) -> None:
    data = vlrnn.TextDataModule(str(text_file), CharTokenizer())
    found = predict(language_model(data), tmp_path, datamodule=data)
    assert found
    assert all(len(each.log_probs) == len(each.tokens) for each in found)


# Notebooks.


def test_notebooks_show_tables(checkpoints: Any, images: list[Path]) -> None:
    predictor = vlrnn.Predictor.load(checkpoints.folder, "cpu")
    assert "Captioner" in repr(predictor)
    assert "<td>decoder</td><td>ShowAttendTell</td>" in predictor._repr_html_()
    prediction = replace(predictor.caption(images[0], num_beams=2, num_return_sequences=2), text="<b>red</b>")
    shown = prediction._repr_html_()
    assert shown.count("<tr>") == 3
    assert "&lt;b&gt;red" in shown
    config = vlrnn.GenerationConfig(num_beams=5)
    assert "num_beams=5" in repr(config)
    assert "<td>num_beams</td><td>5</td>" in config._repr_html_()
