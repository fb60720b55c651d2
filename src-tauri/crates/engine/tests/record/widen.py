# Writes a GGUF file anew with all weights as 32-bit floats of the same values, for real.mjs: where nothing is rounded on the way, two
# engines can be compared to the last digits.
#   pip install gguf==0.17.1 numpy && python widen.py MODEL.gguf WIDE.gguf
import struct
import sys

import gguf
import numpy as np
from gguf.quants import dequantize

source, target = sys.argv[1:]
data = open(source, "rb").read()
reader = gguf.GGUFReader(source)
FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def skip(at, kind):
    """Where a value that begins at `at` ends."""
    if kind in FIXED:
        return at + FIXED[kind]
    if kind == 8:
        return at + 8 + struct.unpack_from("<Q", data, at)[0]
    of, count = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(count):
        at = skip(at, of)
    return at


tensors, values = struct.unpack_from("<QQ", data, 8)
at = 24
for _ in range(values):
    at = skip(at, 8)
    at = skip(at + 4, struct.unpack_from("<I", data, at)[0])
with open(target, "wb") as out:
    out.write(data[:at])
    offset = 0
    for tensor in reader.tensors:
        name = tensor.name.encode()
        shape = [int(size) for size in tensor.shape]
        out.write(struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape)))
        out.write(struct.pack(f"<{len(shape)}QIQ", *shape, 0, offset))
        offset += -(-int(np.prod(shape)) * 4 // 32) * 32
    for tensor in reader.tensors:
        out.write(bytes(-out.tell() % 32))
        out.write(dequantize(tensor.data, tensor.tensor_type).astype(np.float32).tobytes())
