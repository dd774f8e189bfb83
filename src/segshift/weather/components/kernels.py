"""Components of a label, the feet of their columns, and how near each column stands.

A cell is one column of one component; the cells of component c are `start[c]` to `start[c + 1]`, from its leftmost column
`first[c]` on. Nearness is one over the horizontal distance, per metre: 0 at the horizon, and linear along the image of a
plane that stands on the ground.
"""

# mypy: allow-untyped-defs
import numpy as np
from numba import njit

GROUND, SKY, VOID = 253, 254, 255
"""What a pixel is that belongs to no standing class."""
ON_GROUND, AT_BORDER = -1, -2
"""What is beneath a cell that has no other cell beneath it."""


@njit(cache=True, nogil=True)
def root(parent, i):
    """The number that a provisional number was joined to, with the path to it halved."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def find_components(kind, out):
    """Number the 8-connected components of equal `kind` in reading order, -1 where there is nothing standing; returns their count.

    One pass gives provisional numbers and joins them where they meet, a second makes them consecutive.
    """
    height, width = kind.shape
    parent = np.empty(height * width, np.int32)  # every pixel may differ from its neighbours
    count = 0
    for v in range(height):
        for u in range(width):
            k = kind[v, u]
            if k >= GROUND:
                out[v, u] = -1
                continue
            mine = -1
            if u > 0 and kind[v, u - 1] == k:
                mine = out[v, u - 1]
            if v > 0:
                for w in range(max(0, u - 1), min(width, u + 2)):
                    if kind[v - 1, w] == k and out[v - 1, w] != mine:
                        other = root(parent, out[v - 1, w])
                        if mine >= 0:
                            mine = root(parent, mine)
                            parent[max(mine, other)] = min(mine, other)
                            mine = min(mine, other)
                        else:
                            mine = other
            if mine < 0:
                mine = count
                parent[count] = count
                count += 1
            out[v, u] = mine
    number = np.empty(count, np.int32)
    found = 0
    for i in range(count):
        r = root(parent, i)
        if r == i:
            number[i] = found
            found += 1
        else:
            number[i] = number[r]
    for v in range(height):
        for u in range(width):
            if out[v, u] >= 0:
                out[v, u] = number[out[v, u]]
    return found


@njit(cache=True, nogil=True)
def find_feet(kind, component, count, edge, reach):
    """Cells of the components: `start`, `first`, the `kind` of each; and per cell its lowest row `foot` and what is `beneath`.

    Beneath is the next thing down the column that is neither sky nor void: another cell, ON_GROUND, or AT_BORDER. Void between a cell and
    the ground is a shadow, unless the ground under it (nearness `edge`, a row) is more than `reach` metres deep: then it is what stands before the
    cell's foot, which is taken to be the row above the ground.
    """
    height, width = kind.shape
    first = np.full(count, width, np.int32)
    last = np.full(count, -1, np.int32)
    what = np.empty(count, kind.dtype)
    for v in range(height):
        for u in range(width):
            c = component[v, u]
            if c >= 0:
                what[c] = kind[v, u]
                first[c] = min(first[c], u)
                last[c] = max(last[c], u)
    start = np.zeros(count + 1, np.int64)
    for c in range(count):
        start[c + 1] = start[c] + last[c] - first[c] + 1
    foot = np.full(start[count], -1, np.int32)
    beneath = np.full(start[count], AT_BORDER, np.int64)
    under = np.full(width, AT_BORDER, np.int64)
    ground = np.full(width, -1, np.int32)  # the row above the ground, where nothing but void has come since
    for v in range(height - 1, -1, -1):
        for u in range(width):
            c = component[v, u]
            if c >= 0:
                cell = start[c] + u - first[c]
                if foot[cell] < 0:
                    hidden = ground[u] > v and edge[ground[u]] - edge[v] > reach * edge[ground[u]] * edge[v]
                    foot[cell] = ground[u] if hidden else v
                    beneath[cell] = under[u]
                under[u] = cell
                ground[u] = -1
            elif kind[v, u] == GROUND:
                under[u] = ON_GROUND
                ground[u] = v - 1
            elif kind[v, u] == SKY:
                ground[u] = -1
    return start, first, what, foot, beneath


@njit(cache=True, nogil=True)
def stand(start, first, foot, beneath, order, carried, edge, aside, usual, least, focal, reach, gap, near):
    """Fill the nearness `near` of every cell (0 where it is unknown), components in `order`, those with the lowest feet first.

    Per row: `edge` the ground's nearness at its lower edge. Per column: `aside` the metres to the side per metre of distance.
    Per cell: `usual` the nearness at which its class stands to the side, 0 if unknown. Per component: `carried`, whether it hangs
    on what is beneath. `least` is the nearness of what is farthest, `reach` and `gap` are in metres, `focal` in pixels.
    """
    most = 1
    for c in range(len(start) - 1):
        most = max(most, start[c + 1] - start[c])
    at, value = np.empty(most, np.int64), np.empty(most)
    row = edge[1] - edge[0] if len(edge) > 1 else 0.0
    for c in order:
        a, b = start[c], start[c + 1]
        n, nearest, lowest = 0, 0.0, a
        for cell in range(a, b):
            if foot[cell] > foot[lowest]:
                lowest = cell
            if beneath[cell] < 0 and edge[foot[cell]] > least:
                near[cell] = edge[foot[cell]]
                nearest = max(nearest, near[cell])
                at[n] = cell
                n += 1
        whole = first[c] > 0 and first[c] + b - a < len(aside)  # else it may be wider than what is seen
        if n > 0:
            if whole and b - a <= reach * focal * nearest:
                n = drop_far(at, n, near, 1 / (1 / nearest + reach) - row)
            n = bridge(at, n, near, focal, reach, row)
        if carried[c]:
            holder = support(a, b, beneath, near)
            if holder >= 0 and near[holder] >= nearest:
                at[0], n = lowest, 1
                near[lowest] = near[holder]
        if n == 0:
            q = guess(lowest, first[c] + lowest - a, usual[lowest], foot, beneath, edge, aside, least, gap, near)
            if whole and b - a <= reach * focal * q:
                at[0], n = lowest, 1
                near[lowest] = q
        left = 0
        for cell in range(a, b):
            while left + 1 < n and at[left + 1] <= cell:
                left += 1
            q, close = 0.0, False
            if n > 0:
                low, high = at[left], at[min(left + 1, n - 1)]
                q = near[low]
                if low < cell < high:
                    q += (cell - low) / (high - low) * (near[high] - near[low])
                close = min(abs(cell - low), abs(high - cell)) <= reach * focal * q
            if n == 0 or (beneath[cell] >= 0 and not close and not carried[c]):
                between = n > 0 and at[0] < cell < at[n - 1]
                q = guess(cell, first[c] + cell - a, q if between else usual[cell], foot, beneath, edge, aside, least, gap, near)
            value[cell - a] = max(q, least)
        near[a:b] = value[: b - a]


@njit(cache=True, nogil=True)
def drop_far(at, n, near, limit):
    """Keep the feet at least as near as `limit`: a farther one hangs above the ground that is seen beneath it."""
    kept = 0
    for i in range(n):
        if near[at[i]] >= limit:
            at[kept] = at[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def bridge(at, n, near, focal, reach, row):
    """Keep the feet that carry: drop each that hangs above the line between two others at most `reach` metres apart."""
    kept = 0
    for i in range(n):
        cell = at[i]
        while kept >= 2:
            left, top = at[kept - 2], at[kept - 1]
            share = (top - left) / (cell - left)
            if near[top] > near[left] + share * (near[cell] - near[left]):
                break
            far = max(1 / near[left], 1 / near[cell])
            across = (cell - left) / focal * far
            deep = abs(1 / near[left] - 1 / near[cell])
            # Depths within one row of pixels cannot be told apart.
            if max(across, deep - row * far * far) > reach:
                break
            kept -= 1
        at[kept] = cell
        kept += 1
    return kept


@njit(cache=True, nogil=True)
def support(a, b, beneath, near):
    """The nearest of what is beneath the cells from a to b; -1 where nothing is."""
    found = -1
    for cell in range(a, b):
        front = known(cell, beneath, near)
        if front >= 0 and (found < 0 or near[front] > near[found]):
            found = front
    return found


@njit(cache=True, nogil=True)
def guess(cell, u, q, foot, beneath, edge, aside, least, gap, near):
    """Nearness of a cell in column u whose foot is not seen: `q`, or where that is 0 `gap` farther to the side than what hides it.

    Never before what hides it, nor beyond the ground at its own lower edge.
    """
    front = known(cell, beneath, near)
    if q == 0:
        q = 1 / (1 / near[front] + gap / aside[u]) if front >= 0 else least
    if front >= 0:
        q = min(q, near[front])
    return max(q, edge[foot[cell]], least)


@njit(cache=True, nogil=True)
def known(cell, beneath, near):
    """The first cell beneath whose nearness is known; negative without one."""
    cell = beneath[cell]
    while cell >= 0 and near[cell] == 0:
        cell = beneath[cell]
    return cell


@njit(cache=True, nogil=True)
def paint(component, start, first, near, slope, far, depth):
    """Write the depth of every standing pixel, at most `far`: the horizontal distance over its row's `slope`."""
    height, width = component.shape
    for v in range(height):
        for u in range(width):
            c = component[v, u]
            if c >= 0:
                depth[v, u] = min(1 / (near[start[c] + u - first[c]] * slope[v]), far)
