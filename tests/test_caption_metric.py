"""The torchmetrics metric gives the scores of one process, however many there are."""

import pytest
import torch
import torch.multiprocessing as multiprocessing

from vlrnn.errors import UserError
from vlrnn.metrics import score_captions
from vlrnn.training.evaluation import CaptionMetric

REFERENCES = {
    1: ["a man rides a horse", "the man"],
    "b": ["two dogs play"],
    3: ["ein Käfer 🐞"],
    4: ["a red bus"],
}
PREDICTIONS = {1: "a man on a horse", "b": "dogs play", 3: "Käfer 🐞 läuft", 4: ""}


def test_batches_add_up() -> None:
    metric = CaptionMetric(REFERENCES)
    for id, caption in PREDICTIONS.items():
        metric.update({id: caption})
    expected = score_captions(PREDICTIONS, REFERENCES).corpus
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(expected)
    metric.reset()
    metric.update({})
    metric.update({1: "a man", "b": "a dog"})
    scored = {id: REFERENCES[id] for id in (1, "b")}
    assert metric.scores().corpus == score_captions({1: "a man", "b": "a dog"}, scored).corpus


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(UserError, match="without references"):
        CaptionMetric(REFERENCES).update({5: "a man"})


def test_what_another_process_saw_is_merged_by_image() -> None:
    other = CaptionMetric(REFERENCES)
    other.update({3: PREDICTIONS[3], 4: PREDICTIONS[4], 1: PREDICTIONS[1]})
    theirs = iter([other.images, other.lengths, other.letters])
    metric = CaptionMetric(
        REFERENCES,
        dist_sync_fn=lambda state, group: [state, torch.cat(next(theirs))],
        distributed_available_fn=lambda: True,
    )
    metric.update({1: PREDICTIONS[1], "b": PREDICTIONS["b"]})
    expected = score_captions(PREDICTIONS, REFERENCES).corpus
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(expected)


def _score_in_a_process(rank: int, store: str, results: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    metric = CaptionMetric(REFERENCES)
    # The first image is seen by both, as a sampler has it that repeats images.
    metric.update({id: PREDICTIONS[id] for id in ((1, "b"), (3, 4, 1))[rank]})
    torch.save(metric.compute(), f"{results}{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(tmp_path: object) -> None:
    multiprocessing.spawn(_score_in_a_process, (f"{tmp_path}/store", f"{tmp_path}/scores"), nprocs=2)
    expected = score_captions(PREDICTIONS, REFERENCES).corpus
    for rank in range(2):
        scores = torch.load(f"{tmp_path}/scores{rank}", weights_only=True)
        assert {name: value.item() for name, value in scores.items()} == pytest.approx(expected)
