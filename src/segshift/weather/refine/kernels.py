"""The loops of a guided filter and of a bilateral grid.

Unannotated, because numba compiles it: shape annotations are executed in tests by wrapping functions, which numba cannot read.
"""

# mypy: allow-untyped-defs
import numba
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath=True)
def shrink(image, scale, values, by, out):
    """Means of blocks of `by` x `by` pixels of the image (3, h, w), times `scale`, and of the values (h, w): (4, y, x)."""
    height, width = values.shape
    line = np.empty(width, np.float32)
    for channel in range(4):
        factor = scale if channel < 3 else np.float32(1)
        for y in range(out.shape[1]):
            rows = min(by, height - y * by)
            line[:] = 0
            for row in range(y * by, y * by + rows):
                if channel < 3:
                    given = image[channel, row]
                    for column in range(width):
                        line[column] += np.float32(given[column])
                else:
                    for column in range(width):
                        line[column] += values[row, column]
            for x in range(out.shape[2]):
                columns = min(by, width - x * by)
                total = np.float32(0)
                for column in range(x * by, x * by + columns):
                    total += line[column]
                out[channel, y, x] = total * factor / np.float32(rows * columns)


@numba.njit(cache=True, nogil=True, fastmath=True)
def box_mean(values, radius):
    """Mean over windows of 2 `radius` + 1 pixels a side, cut off at the border, in place: (n, h, w)."""
    maps, height, width = values.shape
    sums = np.empty(width, np.float64)
    across = np.empty((height, width), np.float32)
    share = np.empty(width, np.float64)
    for column in range(width):
        share[column] = 1 / (min(width, column + radius + 1) - max(0, column - radius))
    for place in range(maps):
        given = values[place]
        sums[:] = 0
        for row in range(min(radius, height)):
            for column in range(width):
                sums[column] += given[row, column]
        for row in range(height):
            if row + radius < height:
                for column in range(width):
                    sums[column] += given[row + radius, column]
            if row - radius > 0:
                for column in range(width):
                    sums[column] -= given[row - radius - 1, column]
            weight = 1 / (min(height, row + radius + 1) - max(0, row - radius))
            total = 0.0
            for column in range(min(radius, width)):
                total += sums[column]
            for column in range(width):
                if column + radius < width:
                    total += sums[column + radius]
                if column > radius:
                    total -= sums[column - radius - 1]
                across[row, column] = total * (weight * share[column])
        given[:] = across


@numba.njit(cache=True, nogil=True, fastmath=True)
def multiply(small, out):
    """The picture, the values and their products: (4, y, x) -> (13, y, x), in the order of `guided.PAIRS`."""
    for y in range(small.shape[1]):
        for x in range(small.shape[2]):
            r, g, b, p = small[0, y, x], small[1, y, x], small[2, y, x], small[3, y, x]
            out[0, y, x], out[1, y, x], out[2, y, x], out[3, y, x] = r, g, b, p
            out[4, y, x], out[5, y, x], out[6, y, x], out[7, y, x], out[8, y, x], out[9, y, x] = r * r, r * g, r * b, g * g, g * b, b * b
            out[10, y, x], out[11, y, x], out[12, y, x] = r * p, g * p, b * p


@numba.njit(cache=True, nogil=True, fastmath=True)
def solve(means, eps, out):
    """Equations (1) and (2) of `guided.py` for each pixel: the inverse of a symmetric 3 x 3 matrix by its cofactors."""
    one = np.float32(1)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            r, g, b, p = means[0, y, x], means[1, y, x], means[2, y, x], means[3, y, x]
            xx, xy, xz = means[4, y, x] - r * r + eps, means[5, y, x] - r * g, means[6, y, x] - r * b
            yy, yz, zz = means[7, y, x] - g * g + eps, means[8, y, x] - g * b, means[9, y, x] - b * b + eps
            px, py, pz = means[10, y, x] - r * p, means[11, y, x] - g * p, means[12, y, x] - b * p
            cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
            cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
            scale = one / (xx * cxx + xy * cxy + xz * cxz)
            ar = (cxx * px + cxy * py + cxz * pz) * scale
            ag = (cxy * px + cyy * py + cyz * pz) * scale
            ab = (cxz * px + cyz * py + czz * pz) * scale
            out[0, y, x], out[1, y, x], out[2, y, x] = ar, ag, ab
            out[3, y, x] = p - ar * r - ag * g - ab * b


@numba.njit(cache=True, nogil=True, fastmath=True)
def apply_enlarged(weights, image, scale, by, out):
    """Equation (3): the weights (4, y, x), bilinear between the centres of their blocks, on the image (3, h, w)."""
    height, width = out.shape
    rows, columns = weights.shape[1:]
    half, one = np.float32(0.5), np.float32(1)
    line = np.empty((4, columns + 2), np.float32)  # a row of weights, with one more block at either end
    offset = by // 2  # the phase of column 0 between two centres
    for row in range(height):
        place = (np.float32(row) + half) / np.float32(by) - half
        upper = int(np.floor(place))
        low = np.float32(place - upper)
        first, second = max(upper, 0), min(upper + 1, rows - 1)
        for k in range(4):
            for x in range(columns):
                line[k, x + 1] = weights[k, first, x] * (one - low) + weights[k, second, x] * low
            line[k, 0], line[k, columns + 1] = line[k, 1], line[k, columns]
        red, green, blue, target = image[0, row], image[1, row], image[2, row], out[row]
        for x in range(columns + 1):
            start = x * by - (by - offset)
            for step in range(by):
                column = start + step
                if 0 <= column < width:
                    right = (np.float32(column) + half) / np.float32(by) + half - np.float32(x)
                    left = one - right
                    target[column] = (
                        (line[0, x] * left + line[0, x + 1] * right) * (np.float32(red[column]) * scale)
                        + (line[1, x] * left + line[1, x + 1] * right) * (np.float32(green[column]) * scale)
                        + (line[2, x] * left + line[2, x + 1] * right) * (np.float32(blue[column]) * scale)
                        + (line[3, x] * left + line[3, x + 1] * right)
                    )


@numba.njit(cache=True, nogil=True)
def splat(values, labels, color, spacing, pitch, by_label, by_color):
    """Add each value, and 1 for its weight, to the nearest cell of both grids: (y, x, k, 2) and (y, x, c1, c2, c3, 2)."""
    height, width = values.shape
    for row in range(height):
        y = int(np.floor(row / spacing + 0.5))
        for column in range(width):
            x = int(np.floor(column / spacing + 0.5))
            cell = by_label[y, x, labels[row, column]]
            cell[0] += values[row, column]
            cell[1] += 1
            c1, c2, c3 = (
                int(np.floor(color[0, row, column] / pitch + 0.5)),
                int(np.floor(color[1, row, column] / pitch + 0.5)),
                int(np.floor(color[2, row, column] / pitch + 0.5)),
            )
            cell = by_color[y, x, c1, c2, c3]
            cell[0] += values[row, column]
            cell[1] += 1


@numba.njit(cache=True, nogil=True)
def slice_grids(labels, color, spacing, pitch, by_label, by_color, weight, out):
    """Read both blurred grids at every pixel, linear between cells: (label sum + weight color sum) over the same of the weights."""
    height, width = out.shape
    for row in range(height):
        v = row / spacing
        y = int(v)
        for column in range(width):
            u = column / spacing
            x = int(u)
            p1, p2, p3 = color[0, row, column] / pitch, color[1, row, column] / pitch, color[2, row, column] / pitch
            c1, c2, c3 = int(p1), int(p2), int(p3)
            total = 0.0
            count = 0.0
            for dy in range(2):
                for dx in range(2):
                    near = abs(1 - dy - (v - y)) * abs(1 - dx - (u - x))
                    cell = by_label[y + dy, x + dx, labels[row, column]]
                    total += near * cell[0]
                    count += near * cell[1]
                    block = by_color[y + dy, x + dx]
                    for d1 in range(2):
                        for d2 in range(2):
                            for d3 in range(2):
                                share = weight * near * abs(1 - d1 - (p1 - c1)) * abs(1 - d2 - (p2 - c2)) * abs(1 - d3 - (p3 - c3))
                                total += share * block[c1 + d1, c2 + d2, c3 + d3, 0]
                                count += share * block[c1 + d1, c2 + d2, c3 + d3, 1]
            out[row, column] = total / count
