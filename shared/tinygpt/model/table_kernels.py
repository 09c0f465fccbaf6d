"""Kernels of the n-gram table on a CPU: to look n-grams up, to add their rows, and to update the rows that a step used.

Formats, widths and threads are as in `training_kernels.py`; `ops/tables.py` says what these kernels compute, in torch.
Shapes: B batch, T time, C width.
"""

import numpy as np

from tinygpt.compiled.jit import kernel
from tinygpt.compiled.lanes import LANES, load, multiply_add, splat, store, total
from tinygpt.compiled.ngrams import find_hash, hash_of_last


@kernel
def find_ngrams(ids, sizes, places, hashes, rows, starts):  # type: ignore[no-untyped-def]
    """Look up the known n-grams of all `sizes` that end at each of the N = B * T positions of int64 ids (B, T).

    `places` and `hashes` are a `hash_table` and its hashes. The rows of the n-grams at position n are written to int64
    `rows`, from starts[n] to starts[n + 1]. Returns starts[N], the number of rows.
    """
    batch, time = ids.shape
    count = 0
    for b in range(batch):
        for t in range(time):
            starts[b * time + t] = count
            hashed, known = np.int64(0), 0
            for size in sizes:
                hashed = hash_of_last(size, ids, b, t, known, hashed)
                known = size
                row = find_hash(hashed, places, hashes)
                if row >= 0:
                    rows[count] = row
                    count += 1
    starts[batch * time] = count
    return count


@kernel
def sum_of_rows(table, rows, starts, y):  # type: ignore[no-untyped-def]
    """y[n] = the sum of the rows of the fp32 `table` that `rows` names from starts[n] to starts[n + 1]; y is (N, C)."""
    for n in range(len(y)):
        for c in range(0, table.shape[1], LANES):
            sums = splat(np.float32(0))
            for i in range(starts[n], starts[n + 1]):
                sums = sums + load(table, (rows[i], c))
            store(y, (n, c), sums)


@kernel
def sum_by_row(values, rows, starts, place, unique, sums):  # type: ignore[no-untyped-def]
    """Gradient of `sum_of_rows`: for each distinct row, the sum of the values[n] for which `rows` names it from
    starts[n] to starts[n + 1]. values is (N, C).

    Returns U, the number of distinct rows. unique[:U] are the rows and sums[:U] their sums, in fp32. `place`, a number
    for each row of the table, is scratch space: -1 before and after.
    """
    count = 0
    for n in range(len(values)):
        for i in range(starts[n], starts[n + 1]):
            at = place[rows[i]]
            if at < 0:
                at = place[rows[i]] = count
                unique[count] = rows[i]
                for c in range(0, values.shape[1], LANES):
                    store(sums, (count, c), load(values, (n, c)))
                count += 1
            else:
                for c in range(0, values.shape[1], LANES):
                    store(sums, (at, c), load(sums, (at, c)) + load(values, (n, c)))
    for i in range(count):
        place[unique[i]] = -1
    return count


@kernel
def adagrad_rows(rows, gradient, squares, table, learning_rate):  # type: ignore[no-untyped-def]
    """A step of row-wise Adagrad on distinct `rows` (N,) of the fp32 `table` with their fp32 `gradient` (N, C).

    `squares` has a number for each row of the table.
    """
    width = table.shape[1]
    for n in range(len(rows)):
        square = splat(np.float32(0))
        for c in range(0, width, LANES):
            square = multiply_add(load(gradient, (n, c)), load(gradient, (n, c)), square)
        squares[rows[n]] += total(square) / np.float32(width)
        factor = -learning_rate / (np.sqrt(squares[rows[n]]) + np.float32(1e-12))
        for c in range(0, width, LANES):
            store(table, (rows[n], c), multiply_add(factor, load(gradient, (n, c)), load(table, (rows[n], c))))
