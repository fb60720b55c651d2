# Records what the Python package gguf makes of arbitrary blocks of every quantised type, for the tests of gguf/blocks.rs:
#   pip install gguf==0.17.1 numpy && python blocks.py > blocks.json
import json
import sys

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as Kind
from gguf.quants import dequantize

noise = np.random.default_rng(2026)
rows = []
# Where the 16-bit floats of a block stand: they are set, so that none is infinite or no number.
halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "BF16": []}
for name, places in halves.items():
    kind = Kind[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    for _ in range(3):
        block = noise.integers(0, 256, size, dtype=np.uint8) if name != "BF16" else np.frombuffer(
            (noise.normal(size=32).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes(), dtype=np.uint8)
        block = block.copy()
        for at in places:
            block[at:at + 2] = np.frombuffer(np.float16(noise.normal() * 0.1).tobytes(), dtype=np.uint8)
        values = dequantize(block, kind).reshape(-1)
        rows.append({"type": name, "bytes": block.tobytes().hex(), "values": [float(v) for v in values.astype(np.float32)]})
out = json.dumps({"source": "gguf 0.17.1 from PyPI, gguf.quants.dequantize", "command": "python blocks.py > blocks.json"})[:-1]
sys.stdout.write(out + ',"blocks":[\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]}\n")
