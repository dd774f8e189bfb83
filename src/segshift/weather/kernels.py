"""What stands between the camera and the scene: transmittance and veil, in one pass over memory.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import numba
import numpy as np

CHUNK = 2048
"""Pixels whose transmittance is held at a time: 8 KiB, so that they stay in the first-level cache."""
FAST = {"contract", "reassoc", "arcp", "nsz"}
"""Fused and reordered arithmetic, while an infinite distance stays what it is."""
FURTHEST = np.float32(1.2)
"""A sixteenth of the optical depth beyond which nothing is left: exp(-19) of 255 grey levels is 1e-6."""


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def transmit(distance, beta, out):
    """exp(-beta distance) = (exp(-beta distance / 16))^16, the inner one a polynomial: vector instructions, absolute error 1e-6."""
    share = np.float32(beta / 16)
    one, a, b, c, d, e = np.float32(1), np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120), np.float32(1 / 720)
    for i in range(distance.size):
        y = min(distance[i] * share, FURTHEST)
        p = one - y * (one - y * (a - y * (b - y * (c - y * (d - y * e)))))
        p = p * p
        p = p * p
        p = p * p
        out[i] = p * p


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def veil_bytes(image, distance, light, beta, out):
    """`out` = light + (image - light) exp(-beta distance), rounded; image and out uint8 (3, n), light in grey levels."""
    t = np.empty(CHUNK, np.float32)
    half = np.float32(0.5)
    for start in range(0, distance.size, CHUNK):
        stop = min(distance.size, start + CHUNK)
        transmit(distance[start:stop], beta, t)
        for channel in range(3):
            source, target, far = image[channel, start:stop], out[channel, start:stop], light[channel]
            for i in range(stop - start):
                target[i] = np.uint8(np.int32(far + (np.float32(source[i]) - far) * t[i] + half))


@numba.njit(cache=True, nogil=True, fastmath=FAST)
def veil_floats(image, distance, light, beta, out):
    """The same for float32, without rounding."""
    t = np.empty(CHUNK, np.float32)
    for start in range(0, distance.size, CHUNK):
        stop = min(distance.size, start + CHUNK)
        transmit(distance[start:stop], beta, t)
        for channel in range(3):
            source, target, far = image[channel, start:stop], out[channel, start:stop], light[channel]
            for i in range(stop - start):
                target[i] = far + (source[i] - far) * t[i]
