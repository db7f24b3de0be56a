"""How much memory and time backpropagation through time takes, against how long the stream is: full, truncated with the
state carried on, and full with all but some states computed once more.

    python benchmarks/bptt_memory.py [--lengths 512 1024 2048 4096 8192] [--device cpu]

An LSTM of 256 reads 16 rows of characters, and takes their gradients back; recomputed, of T steps the states at every
sqrt(T) are kept. Each figure is of a process of its own: the most memory that it had at a time, on a GPU what was
allocated there, less what it had when a tiny model had done the same. Prints what it finds, asserts nothing.
"""

import argparse
import math
import resource
import subprocess
import sys
import time

ROWS, WIDTH, SYMBOLS, WINDOW = 16, 256, 64, 128
WAYS = ("full", "full, recomputed", f"truncated at {WINDOW}")


def measure(way: str, length: int, device: str) -> tuple[float, float]:
    """The memory that a pass over a stream takes, in MiB, and its seconds."""
    import torch

    from vlrnn.nn.batching import map_tree
    from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
    from vlrnn.nn.recurrent.rnn import LSTM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    window = WINDOW if way.startswith("truncated") else length

    def read(width: int, length: int, checkpoint_every: int) -> None:
        again = checkpoint_every if way == "full, recomputed" else None
        decoder = (
            RecurrentLanguageModel(LSTM(width), embedding_dim=width // 4, checkpoint_every=again)
            .build(SYMBOLS)
            .to(device)
        )
        tokens = torch.randint(0, SYMBOLS, (ROWS, 1 + length), device=device)
        state = decoder.init_state(decoder.empty_memory(ROWS))
        for start in range(0, length, window):
            log_probs, state = decoder.log_probs(tokens[:, start : start + window + 1], state)
            (-log_probs.sum() / tokens.numel()).backward()
            state = map_tree(torch.Tensor.detach, state)

    def peak() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    read(8, 64, checkpoint_every=8)  # loads what is loaded once
    before, start = peak(), time.perf_counter()
    read(WIDTH, length, checkpoint_every=round(math.sqrt(length)))
    return peak() - before, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what a process of its own measures
    arguments = parser.parse_args()
    if arguments.one:
        memory, seconds = measure(arguments.one, arguments.lengths[0], arguments.device)
        print(f"{memory:.0f} MiB, {seconds:.1f} s")
        return
    print(f"| steps | {' | '.join(WAYS)} |")
    print("|---" * (1 + len(WAYS)) + "|")
    for length in arguments.lengths:
        command = [sys.executable, __file__, "--device", arguments.device, "--lengths", str(length), "--one"]
        found = [subprocess.run([*command, way], capture_output=True, text=True, check=True).stdout for way in WAYS]
        print(f"| {length:,} | {' | '.join(map(str.strip, found))} |", flush=True)


if __name__ == "__main__":
    main()
