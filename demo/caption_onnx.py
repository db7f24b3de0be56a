"""Caption images from the ONNX files of a captioner, with ONNX Runtime, numpy and Pillow alone: no torch.

vlrnn export --checkpoint runs/quickstart/captioning/checkpoints/best.ckpt --out captioner --onnx
python demo/caption_onnx.py captioner photo.jpg

This runs the program that the export copies into the folder, `captioner/caption_onnx.py`, for those who have no vlrnn.
"""

import runpy
import sys
from pathlib import Path

main = runpy.run_path(str(Path(__file__).parents[1] / "vlrnn" / "inference" / "onnx_captioner.py"))["main"]

if __name__ == "__main__":
    sys.exit(main())
