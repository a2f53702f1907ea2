#!/usr/bin/env python3
"""Writes block-hashes.txt: what the Python packages gguf and ml_dtypes make of random bytes, for TestDequantise.

Each type decodes the same stream of bytes (splitmix64 from seed 1), so that scales are also infinite, NaN and
denormal. A line: type, number of blocks, SHA-256 of the floats with every NaN written as 7fc00000.
    pip install gguf ml_dtypes && ./make-block-hashes.py > block-hashes.txt
"""
import hashlib

import gguf
import ml_dtypes
import numpy as np

BLOCKS = 4096
OTHERS = {
    "F64": np.float64, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
    "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}
UNDECODED = {"Q8_1", "Q8_K", "Q1_0"}


def stream(size):
    with np.errstate(over="ignore"):
        state = np.arange(1, (size + 7) // 8 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (state ^ (state >> np.uint64(31))).view(np.uint8)[:size]


def q8_k(data):
    """ggml's block_q8_K: a float, 256 signed bytes, 16 sums that decoding does not need."""
    data = data.reshape(-1, 292)
    return data[:, :4].copy().view(np.float32) * data[:, 4:260].copy().view(np.int8).astype(np.float32)


def decoded():
    for kind, (length, size) in gguf.GGML_QUANT_SIZES.items():
        name = kind.name
        if name in UNDECODED or name in OTHERS:
            continue
        blocks = BLOCKS * (32 if length == 1 else 1)
        data = stream(blocks * size)
        if name == "BF16":
            yield name, blocks, (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            yield name, blocks, gguf.quants.dequantize(data.reshape(1, -1), kind)
    yield "Q8_K", BLOCKS, q8_k(stream(BLOCKS * 292))
    for name, kind in OTHERS.items():
        blocks = BLOCKS * 32
        yield name, blocks, stream(blocks * np.dtype(kind).itemsize).view(kind).astype(np.float32)


def main():
    with np.errstate(all="ignore"):
        for name, blocks, values in decoded():
            bits = np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32).copy()
            bits[np.isnan(values.reshape(-1))] = 0x7FC00000
            print(name, blocks, hashlib.sha256(bits.tobytes()).hexdigest())


if __name__ == "__main__":
    main()
