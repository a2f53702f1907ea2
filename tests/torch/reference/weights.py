"""The weights of the tiny checkpoints: TestArchitectures.cpp makes the same numbers."""
import numpy


def weight(name, shape):
    """Uniform values from a hash of the tensor's name: FNV-1a, then splitmix64 of the element's index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) + (numpy.arange(int(numpy.prod(shape)), dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    u = (z >> numpy.uint64(40)).astype(numpy.float32) * numpy.float32(2**-24) - numpy.float32(0.5)
    norm = len(shape) == 1 and name.endswith("weight")
    values = numpy.float32(1) + u * numpy.float32(0.5) if norm else u * numpy.float32(0.5)
    return values.reshape(shape)
