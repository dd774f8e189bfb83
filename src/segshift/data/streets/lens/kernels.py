"""What happens to a scene's colours on their way to 8 bits."""

# mypy: allow-untyped-defs
import math

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def to_byte(value):
    """[0, 1] to 0 .. 255, rounded and clipped."""
    return int(min(1.0, max(0.0, value)) * 255 + 0.5)


@njit(cache=True, nogil=True, error_model="numpy")
def saturate(colour, vivid, contrast, out):
    """The game's look: colours further from grey and from the middle tone."""
    height, width = colour.shape[:2]
    for v in range(height):
        for u in range(width):
            pixel = colour[v, u]
            grey = (pixel[0] + pixel[1] + pixel[2]) / 3
            for c in range(3):
                out[v, u, c] = to_byte(0.5 + contrast * (grey + vivid * (pixel[c] - grey) - 0.46))


@njit(cache=True, nogil=True, error_model="numpy")
def blur(colour, weights, between, out):
    """A separable filter of odd length; the border is repeated."""
    height, width = colour.shape[:2]
    reach = len(weights) // 2
    for v in range(height):
        for u in range(width):
            for c in range(3):
                total = 0.0
                for step in range(-reach, reach + 1):
                    total += weights[step + reach] * colour[v, min(width - 1, max(0, u + step)), c]
                between[v, u, c] = total
    for v in range(height):
        for u in range(width):
            for c in range(3):
                total = 0.0
                for step in range(-reach, reach + 1):
                    total += weights[step + reach] * between[min(height - 1, max(0, v + step)), u, c]
                out[v, u, c] = total


@njit(cache=True, nogil=True, error_model="numpy")
def expose(colour, balance, fall_off, fade, contrast, gain, noise, out):
    """The sensor's side: light fall-off, exposure and white balance, tone curve, noise that grows with the light."""
    height, width = colour.shape[:2]
    for v in range(height):
        y = (v + 0.5) / height - 0.5
        for u in range(width):
            x = (u + 0.5) / width - 0.5
            light = 1 - 2 * fall_off * (x * x + y * y)
            r, g, b = colour[v, u, 0] * balance[0], colour[v, u, 1] * balance[1], colour[v, u, 2] * balance[2]
            grey = (r + g + b) / 3
            for c in range(3):
                value = r if c == 0 else (g if c == 1 else b)
                value = 0.45 + contrast * (light * (grey + fade * (value - grey)) - 0.45)
                if value > 0.8:
                    value = 0.8 + 0.2 * math.tanh((value - 0.8) / 0.2)  # a soft shoulder instead of clipped whites
                value = max(0.0, value)
                out[v, u, c] = to_byte(value + noise[v, u, c] * gain * math.sqrt(value + 0.1))
