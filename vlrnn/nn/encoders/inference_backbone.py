"""The backbone of an encoder for inference: batch norm folded, optionally in bfloat16 or compiled."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from vlrnn.progress import print_progress


class InferenceBackbone(nn.Module):
    """A trunk in evaluation mode, batch norms folded into its convolutions where it is traced, channels last.

    Args:
        trunk: the backbone; not modified.
        bf16: compute in bfloat16, of 8 significant bits, if the processor or GPU supports it; else a line is printed,
            and float32 is used.
        compiled: use torch.compile, which generates code at the first batch, in about half a minute; if it fails, as
            without a C++ compiler, a line is printed, and the operators are run one by one.
    """

    def __init__(self, trunk: nn.Module, bf16: bool = False, compiled: bool = False) -> None:
        super().__init__()
        device = next(iter(trunk.parameters()), torch.empty(0)).device
        if bf16 and not has_bf16(device):
            print_progress(f"bf16: {device.type} computes no bfloat16 here; float32 is used")
            bf16 = False
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        folded = copy.deepcopy(trunk).eval()
        if isinstance(folded, fx.GraphModule):
            folded = fuse(folded, inplace=True)
        self.trunk = folded.to(dtype=self.dtype).to(memory_format=torch.channels_last)
        self.compiled = torch.compile(self.trunk, dynamic=False) if compiled else None
        self.rows = 0

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, S, S], channels last -> the output of the trunk, float32."""
        pixels = pixels.to(self.dtype)
        if self.compiled is None:
            return self.trunk(pixels).float()
        from torch._inductor import config  # slow to import, and seldom needed

        # Code is generated for one batch size. Smaller batches are padded, not compiled anew.
        self.rows = max(self.rows, len(pixels))
        filled = torch.cat([pixels, pixels.new_zeros(self.rows - len(pixels), *pixels.shape[1:])])
        filled = filled.contiguous(memory_format=torch.channels_last)
        try:
            with config.patch(freezing=True), torch.no_grad():  # the weights are laid out ahead, for they do not change
                return self.compiled(filled)[: len(pixels)].float()
        except Exception as fault:  # torch.compile raises what its compilers raise
            reason = " ".join(str(fault).split())
            print_progress(f"compiled: torch.compile cannot ({reason[:120]}); the operators are run one by one")
            self.compiled = None
            return self.trunk(pixels).float()


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 natively, not by emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of newer versions of torch
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
