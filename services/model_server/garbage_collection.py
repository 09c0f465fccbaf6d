"""Garbage collection, kept away from what lives long.

PyTorch and a model are hundreds of thousands of objects. A full collection that goes through them takes a tenth of a
second, in which no thread answers anybody.
"""

import gc


def freeze_live_objects() -> None:
    """Collect once, then exclude everything that is alive now from later collections."""
    gc.collect()
    gc.freeze()


def refreeze_live_objects() -> None:
    """The same after something large was dropped, so that what it left in cycles is collected."""
    gc.unfreeze()
    freeze_live_objects()
