"""The exact candidates of both directions on a device that torch drives, a GPU for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from artsound.errors import BadUsage

if TYPE_CHECKING:
    from torch import Tensor

# Scores computed at once: half a GB, and about as much again while the best are picked.
BLOCK = 2**27


def find_on_device(
    tracks: np.ndarray, artworks: np.ndarray, count: int, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `candidates.Candidates` holds, in its order, computed on `device` ("cuda", "cuda:1").

    Both sides (float32 [n, D]) must fit on the device beside a block of scores (1 GB). Products
    are full float32, not TF32. Raises BadUsage when torch or the device is missing.
    """
    try:
        import torch
    except ImportError as error:
        raise BadUsage(
            f'pair.device = "{device}" needs torch: install artsound[models], or use "cpu".'
        ) from error
    try:
        t, a = (torch.from_numpy(side).to(device) for side in (tracks, artworks))
    except (RuntimeError, AssertionError) as error:
        raise BadUsage(
            f'pair.device = "{device}" cannot be used ({str(error).splitlines()[0]}): use "cpu".'
        ) from error
    with torch.inference_mode():
        return *_best(t, a, min(count, len(a))), *_best(a, t, min(count, len(t)))


def _best(rows: Tensor, columns: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices int32 and scores float32 [rows, count] of each row's best columns, best first."""
    import torch

    indices = np.empty((len(rows), count), dtype=np.int32)
    scores = np.empty((len(rows), count), dtype=np.float32)
    step = max(1, BLOCK // len(columns))
    for at in range(0, len(rows), step):
        block = rows[at : at + step] @ columns.T
        best, place = torch.topk(block, count, dim=1)
        # topk leaves open which of equal scores it takes. Where the last one taken has equals,
        # choose again by score and index together; and put all in order by both.
        tied = torch.nonzero((block >= best[:, -1:]).sum(dim=1) > count).ravel()
        for some in tied.split(max(1, step // 8)):
            order = torch.topk(_by_score_and_index(block[some]), count, dim=1).indices
            place[some], best[some] = order, block[some].gather(1, order)
        order = _by_score_and_index(best, place).argsort(dim=1, descending=True)
        indices[at : at + step] = place.gather(1, order).to(torch.int32).cpu().numpy()
        scores[at : at + step] = best.gather(1, order).cpu().numpy()
    return indices, scores


def _by_score_and_index(scores: Tensor, index: Tensor | None = None) -> Tensor:
    """Whole numbers that are larger for a higher score and, at equal scores, a lower index."""
    import torch

    if index is None:
        index = torch.arange(scores.shape[1], device=scores.device)
    bits = (scores + 0.0).view(torch.int32).to(torch.int64)  # + 0.0: no negative zero
    rank = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # negative floats run backwards
    return rank * 2**32 - index
