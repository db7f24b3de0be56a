"""A tour of the Python interface: data, training, captions, attention, scores and a probe, in a minute or two.

python demo/tutorial.py            (--quick makes everything small: to see that it runs, not that it learns)
"""

import argparse
import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
from PIL import Image

from vlrnn import (
    Captioner,
    DotAttention,
    GenerationConfig,
    Predictor,
    ShowAttendTell,
    TorchvisionEncoder,
    VisionLanguageData,
)
from vlrnn.data.records import Prediction, open_split, write_records
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.metrics import CaptionScorer
from vlrnn.metrics.captions import compare
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.probes.chair import probe_chair
from vlrnn.report.drawing import save_attention
from vlrnn.studies.pretraining import pretrain
from vlrnn.training.checkpoint import save_pretrained
from vlrnn.training.optimization import Optimization


def main() -> None:
    parser = argparse.ArgumentParser(description="A tour of the Python interface.")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--out", type=Path, help="the folder of all files; by default a temporary one")
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    pl.seed_everything(0, verbose=False)
    with TemporaryDirectory() as gone:
        tour(options.out or Path(gone), quick=options.quick)


def tour(out: Path, quick: bool) -> None:
    """The steps of the tour, in order; each uses the results of the one before."""
    train, test = (64, 16) if quick else (4000, 300)

    # 1. Data. Synthetic scenes come with captions, questions, and their objects. A prepared data set is a folder of
    # JSON lines; those of real photographs, made by `vlrnn prepare`, have the same form.
    make_scenes(out / "scenes", train=train, val=test, test=test, image_size=64)
    folder = out / "scenes" / "captions"
    examples = list(open_split(folder, "test"))
    print(f"1. a test image, {examples[0].image}, has the captions:")
    print("   ", "; ".join(examples[0].captions[:2]))

    # 2. An encoder: any torchvision classifier, cut where its grid of regions is wanted. Photographs take pretrained
    # weights by their official name; for scenes a small network learns its own here, in seconds.
    network: dict[str, Any] = {"name": "shufflenet_v2_x1_0", "image_size": 64, "out_layer": "stage2"}
    accuracy = pretrain(folder, out / "cnn.safetensors", first="conv1", epochs=1 if quick else 5, lr=8e-3, **network)
    encoder = TorchvisionEncoder(**network, weights=str(out / "cnn.safetensors"))
    print(
        f"2. the CNN classifies {accuracy:.0%} of the objects right; it has {encoder.num_regions} regions of "
        f"{encoder.feature_dim} features"
    )

    # 3. A model is built of parts: an encoder, a recurrence, attention, and the settings of generation. Another
    # recurrence is another class: GRU(128), or RNN(128).
    data = VisionLanguageData(str(folder), batch_size=32, captions_per_image=2, min_count=1, cache=str(out / "cache"))
    decoder = ShowAttendTell(
        LSTM(128),
        DotAttention(64),
        embedding_dim=64,
        region_dim=64,
        position_frequencies=4,
        attend_with_word=True,
        dropout=0.1,
    )
    model = Captioner(
        data.vocabulary,
        encoder,
        decoder,
        GenerationConfig(max_new_tokens=40, min_new_tokens=1),
        optimization=Optimization(lr=1e-2),
    )

    # 4. Training is Lightning's: every option of its Trainer is there.
    trainer = pl.Trainer(
        max_epochs=1 if quick else 4,
        gradient_clip_val=5.0,
        accelerator="cpu",
        default_root_dir=out,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, data)
    print(f"4. trained for {trainer.current_epoch} epochs; val/CIDEr is {trainer.callback_metrics['val/CIDEr']:.2f}")

    # 5. A saved model is a folder with its weights, its vocabulary and its settings. Loading needs no recipe, training
    # data or CNN, and runs no code of the folder.
    save_pretrained(model, out / "model")
    predictor = Predictor.load(out / "model")
    picture = out / "scenes" / "images" / Path(examples[0].image).name
    best = predictor.caption(picture, num_beams=5, num_return_sequences=3)
    print(f"5. beam search: {best.text}")
    for other in best.alternatives:
        print(f"    or: {other['text']}")

    # 6. Attention weights [words + 1, regions] of the caption, and a picture of them.
    scored = predictor.score_caption(picture, best.tokens)
    assert scored.attention is not None
    with Image.open(picture) as image:
        save_attention(out / "attention.png", image.convert("RGB"), [*best.tokens, "(end)"], scored.attention)
    _, likeliest = max(zip(scored.log_probs, best.tokens, strict=False))
    print(f"6. the likeliest word is {likeliest!r}; {out / 'attention.png'} shows the attention of all")

    # 7. Scores are functions of strings, of any model. Two systems are compared on the same images, with an interval
    # and a p value.
    images = [out / "scenes" / "images" / Path(example.image).name for example in examples]
    greedy, beam = (
        {
            example.id: each.text
            for example, each in zip(examples, predictor.captions(images, num_beams=beams), strict=True)
        }
        for beams in (1, 5)
    )
    scorer = CaptionScorer({example.id: example.captions for example in examples})
    score = scorer.score(beam).with_intervals()["CIDEr"]
    print(f"7. CIDEr {score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}] on {score['n']} images")
    difference = compare(scorer.score(beam), scorer.score(greedy))["CIDEr"]
    print(f"    beam less greedy search: {difference['value']:+.2f}, p {difference['p']:.3f}")

    # 8. Which objects does it hallucinate? Probes read files, of any model, and compare their figures with chance.
    write_records(out / "predictions.jsonl", [Prediction(each.id, each.image_id, beam[each.id]) for each in examples])
    found = probe_chair(out / "predictions.jsonl", folder / "test.jsonl", references=folder / "test.jsonl")
    if rate := found.scores.get("CHAIRi"):
        chance = found.baselines["shuffled"]["CHAIRi"]["value"]
        print(f"8. of the objects that it names {rate['value']:.1f} % are not there; by chance {chance:.1f} %")
    print("What to do next: vlrnn quickstart, and open its report; or README.md.")


if __name__ == "__main__":
    main()
