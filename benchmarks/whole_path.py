"""From picture files to captions and their scores, against the way of tutorials.

    python benchmarks/whole_path.py [--images 16] [--fast] [--repeats 3] [--quick] [--out FILE]

Pictures are made up, and so are the weights: ResNet-50 at 224 pixels, hidden 512, 10,000 words, beams of 5, 16 words.
The tutorial's way takes one picture at a time: torchvision's model as it comes, its 7 x 7 cells pooled to 14 x 14 (each
stands there four times, which changes no attention), the literal beam, and nltk's BLEU. Both find the same captions.
`--fast` adds bfloat16, where the processor has it, and generated code, whose making is not counted; captions may then
differ, and how many are the same is told.
"""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from literal import Literal, same
from nltk.translate.bleu_score import corpus_bleu
from PIL import Image
from side_by_side import arguments_of, begin, in_turns, keep, told
from torch import nn

from vlrnn.generation.search import GenerationConfig
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics import CaptionScorer
from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import EOS, Vocabulary


def pictures(folder: Path, count: int) -> list[Path]:
    """Made-up photographs of 320 x 240 pixels."""
    draw = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8))
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def main() -> None:
    parser = arguments_of(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--fast", action="store_true")
    arguments = parser.parse_args()
    begin(arguments)
    name, size, hidden, words, width, steps, count = (
        ("resnet18", 64, 16, 50, 3, 5, 3)
        if arguments.quick
        else ("resnet50", 224, 512, 10_000, 5, 16, arguments.images)
    )
    encoder = TorchvisionEncoder(name, image_size=size).eval()
    vocabulary = Vocabulary(tuple(f"w{number}" for number in range(words - 4)))
    decoder = ShowAttendTell(LSTM(hidden), SoftAttention(hidden), embedding_dim=hidden, dropout=0.0)
    decoding = GenerationConfig(num_beams=width, max_new_tokens=steps, min_new_tokens=steps - 1, length_penalty=0.0)
    task = Captioner(vocabulary, encoder, decoder, decoding).eval()
    literal = Literal(task.decoder)  # type: ignore[arg-type]
    model = torchvision.models.get_model(name, weights=None).eval()
    plain = nn.Sequential(*list(model.children())[:-2])
    plain.load_state_dict(dict(zip(plain.state_dict(), encoder.trunk.state_dict().values(), strict=True)))
    mean, std = encoder.mean / 255, encoder.std / 255

    def tutorial(paths: list[Path], references: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
        captions = []
        for path in paths:
            picture = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
            with torch.no_grad():
                grid = plain(((pixels - mean) / std).unsqueeze(0))
                grid = F.adaptive_avg_pool2d(grid, 2 * grid.shape[2])
            said = literal.beam(grid.flatten(2).transpose(1, 2)[0], width, steps)
            captions.append([vocabulary.words[id] for id in said if id != EOS])
        if references:
            corpus_bleu([[each.split() for each in references[path.name]] for path in paths], captions)
        return captions

    def ours(predictor: Predictor, paths: list[Path], references: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
        made = [each.text for each in predictor.captions(paths) if not isinstance(each, Exception)]
        if references:
            CaptionScorer(dict(references.items())).score(
                {path.name: text for path, text in zip(paths, made, strict=True)}
            )
        return [text.split() for text in made]

    with tempfile.TemporaryDirectory() as folder:
        paths = pictures(Path(folder), count)
        predictors = {"vlrnn": Predictor(task, "cpu")}
        if arguments.fast:
            predictors["vlrnn, compiled"] = Predictor(task, "cpu", compiled=True)
            predictors["vlrnn, bf16"] = Predictor(task, "cpu", bf16=True)
            predictors["vlrnn, bf16, compiled"] = Predictor(task, "cpu", bf16=True, compiled=True)
        captions = {name: ours(predictor, paths, {}) for name, predictor in predictors.items()}
        theirs = tutorial(paths, {})
        references = {
            path.name: (" ".join(said), " ".join(said[::-1])) for path, said in zip(paths, theirs, strict=True)
        }
        ways = {"one picture at a time": lambda: tutorial(paths, references)}
        ways |= {name: partial(ours, predictor, paths, references) for name, predictor in predictors.items()}
        seconds = in_turns(ways, 1 if arguments.quick else arguments.repeats, warm=False)
    figures = told(f"{count} pictures to captions and scores, one thread", seconds)
    for name, said in captions.items():
        print(f"  {name}: {same(said, theirs)}")
    assert captions["vlrnn"] == theirs
    keep(arguments, figures)


if __name__ == "__main__":
    main()
