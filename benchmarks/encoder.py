"""The encoder against torchvision's model as it comes: ResNet-50, 224 pixels, batches of 16, random weights.

    python benchmarks/encoder.py [--repeats 5] [--quick] [--out FILE]

Both begin with uint8 images and end with the grid. The compiled ones take half a minute each to be generated.
"""

import torch
import torchvision
from side_by_side import arguments_of, begin, in_turns, keep, told
from torch import Tensor, nn

from vlrnn.nn.encoders.module_encoder import has_bf16
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder


def main() -> None:
    parser = arguments_of(__doc__)
    arguments = parser.parse_args()
    begin(arguments)
    name, batch, size = ("resnet18", 2, 64) if arguments.quick else ("resnet50", 16, 224)
    encoder = TorchvisionEncoder(name, image_size=size).eval()
    model = torchvision.models.get_model(name, weights=None).eval()
    plain = nn.Sequential(*list(model.children())[:-2])
    plain.load_state_dict(dict(zip(plain.state_dict(), encoder.trunk.state_dict().values(), strict=True)))
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    mean, std = encoder.mean / 255, encoder.std / 255

    def eager() -> Tensor:
        return plain((images.float() / 255 - mean) / std).flatten(2).transpose(1, 2)

    twins = {"vlrnn, folded, channels last": encoder.folded()}
    if not arguments.quick:
        twins["vlrnn, compiled"] = encoder.folded(compiled=True)
    if has_bf16(torch.device("cpu")):
        twins["vlrnn, bf16"] = encoder.folded(bf16=True)
        if not arguments.quick:
            twins["vlrnn, bf16, compiled"] = encoder.folded(bf16=True, compiled=True)
    ways = {"torchvision, eager": eager}
    ways |= {name: lambda twin=twin: twin.regions(images) for name, twin in twins.items()}  # type: ignore[misc]
    with torch.inference_mode():
        exact = eager()
        differences = {name: float((way() - exact).abs().max() / exact.abs().max()) for name, way in ways.items()}
        seconds = in_turns(ways, 1 if arguments.quick else arguments.repeats)
    figures = told(f"{name}, {batch} images of {size} pixels, one thread", seconds)
    print("  largest difference, of the largest number: " + ", ".join(f"{each:.1e}" for each in differences.values()))
    keep(arguments, {**figures, "differences": differences})


if __name__ == "__main__":
    main()
