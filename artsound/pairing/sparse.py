"""The heaviest assignment on a sparse graph, exactly, with the prices that prove it.

Jonker & Volgenant (Computing 38, 1987): first every row in turn bids for its best column, raising
the column's price to where its second best is as good; then each row that is still free is served
by a shortest augmenting path (Dijkstra on reduced costs). Each row also has an alternative of its
own, a dummy, which bounds every search and makes the problem feasible.

Weights and prices are whole numbers, so sums are exact and equal inputs give equal outputs.
Compiled by numba when first called; import this module only where it is used.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FREE = -1
DUMMY = -2
BIDS_PER_ROW = 60  # a bidding war is left to the augmenting paths after so many bids on average
FAR = np.int64(2**62)


@njit(nogil=True, cache=True)
def heaviest(indptr, indices, weights, dummies, prices, column_of, row_of):  # type: ignore[no-untyped-def]
    """Match every row of a CSR graph to a column or to its dummy, at the largest total weight.

    `weights` int64 [edges]; `dummies` int64 [rows], the weight of leaving a row unmatched.
    Changed in place: `prices` int64 [columns], zero where no row is matched; `column_of` int64
    [rows], a column, DUMMY or FREE; `row_of` int64 [columns], a row or FREE. Start them at 0,
    FREE, FREE, or from an optimum on fewer edges with the rows that gained edges set FREE.
    """
    rows = len(indptr) - 1
    free = np.empty(rows, dtype=np.int64)
    count = 0
    for row in range(rows - 1, -1, -1):  # a stack: the first row on top
        if column_of[row] == FREE:
            free[count] = row
            count += 1
    waiting = np.empty(rows, dtype=np.int64)
    waits = 0
    bids = BIDS_PER_ROW * count
    while count:
        count -= 1
        row = free[count]
        first, second, best = -FAR, dummies[row], FREE
        for edge in range(indptr[row], indptr[row + 1]):
            value = weights[edge] - prices[indices[edge]]
            if value > first:
                second = max(second, first)
                first, best = value, indices[edge]
            elif value > second:
                second = value
        if first <= dummies[row]:
            column_of[row] = DUMMY
            continue
        loser = row_of[best]
        if loser != FREE and (first == second or bids <= 0):
            waiting[waits] = row  # no price would win it without a war
            waits += 1
            continue
        bids -= 1
        prices[best] += first - second
        row_of[best], column_of[row] = row, best
        if loser != FREE:
            column_of[loser] = FREE
            free[count] = loser
            count += 1
    _augment(indptr, indices, weights, dummies, prices, column_of, row_of, waiting[:waits])
    return waits


@njit(nogil=True, cache=True)
def _augment(indptr, indices, weights, dummies, prices, column_of, row_of, waiting):  # type: ignore[no-untyped-def]
    """Serve each waiting row by the shortest path to a free column or to some row's dummy."""
    columns = len(prices)
    distance = np.full(columns, FAR)  # of the best path found to each column so far
    reached_from = np.empty(columns, dtype=np.int64)
    settled = np.empty(columns, dtype=np.int64)
    touched = np.empty(columns, dtype=np.int64)
    keys = np.empty(len(indices) + 1, dtype=np.int64)  # a heap of (distance, column)
    items = np.empty(len(indices) + 1, dtype=np.int64)
    for start in waiting:
        settles, touches, size = 0, 0, 0
        limit, end_row, end_column = FAR, FREE, FREE  # the best end found so far
        row, base = start, np.int64(0)
        while True:
            worth = _worth(indptr, indices, weights, dummies, prices, column_of, row)
            if base + worth - dummies[row] < limit:
                limit, end_row, end_column = base + worth - dummies[row], row, DUMMY
            for edge in range(indptr[row], indptr[row + 1]):
                column = indices[edge]
                far = base + worth - weights[edge] + prices[column]
                if far >= limit or far >= distance[column]:
                    continue
                if distance[column] == FAR:
                    touched[touches] = column
                    touches += 1
                distance[column], reached_from[column] = far, row
                if row_of[column] == FREE:
                    limit, end_row, end_column = far, row, column
                else:
                    size = _push(keys, items, size, far, column)
            # The nearest column next; an entry that a shorter path has outdated is passed over.
            while size and keys[0] != distance[items[0]]:
                size = _pop(keys, items, size)
            if not size or keys[0] >= limit:
                break
            base, column = keys[0], items[0]
            size = _pop(keys, items, size)
            settled[settles] = column
            settles += 1
            row = row_of[column]
        for column in settled[:settles]:
            prices[column] += limit - distance[column]
        _shift(start, end_row, end_column, reached_from, column_of, row_of)
        for column in touched[:touches]:
            distance[column] = FAR


@njit(nogil=True, cache=True)
def _worth(indptr, indices, weights, dummies, prices, column_of, row):  # type: ignore[no-untyped-def]
    """A row's weight less price: of the column it holds, or the best it could have."""
    held = column_of[row]
    worth = dummies[row]
    for edge in range(indptr[row], indptr[row + 1]):
        column = indices[edge]
        if column == held:
            return weights[edge] - prices[column]
        if held < 0:
            worth = max(worth, weights[edge] - prices[column])
    return worth


@njit(nogil=True, cache=True)
def _shift(start, row, column, reached_from, column_of, row_of):  # type: ignore[no-untyped-def]
    """Give `row` its new column and pass its old one on, back along the path to `start`."""
    while True:
        given_up = column_of[row]
        column_of[row] = column
        if column >= 0:
            row_of[column] = row
        if row == start:
            break
        column = given_up
        row = reached_from[column]


@njit(nogil=True, cache=True)
def _push(keys, items, size, key, item):  # type: ignore[no-untyped-def]
    place = size
    while place:
        parent = (place - 1) // 2
        if keys[parent] <= key:
            break
        keys[place], items[place] = keys[parent], items[parent]
        place = parent
    keys[place], items[place] = key, item
    return size + 1


@njit(nogil=True, cache=True)
def _pop(keys, items, size):  # type: ignore[no-untyped-def]
    size -= 1
    key, item = keys[size], items[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[place], items[place] = keys[child], items[child]
        place = child
    keys[place], items[place] = key, item
    return size


@njit(nogil=True, cache=True)
def take_in_order(rows, columns, column_of, free):  # type: ignore[no-untyped-def]
    """Take each pair whose row has no column yet and whose column is free, in the order given."""
    for n in range(len(rows)):
        row, column = rows[n], columns[n]
        if column_of[row] < 0 and free[column] > 0:
            column_of[row] = column
            free[column] -= 1
