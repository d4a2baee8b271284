"""When memory runs out: how it shows, and how to give back what torch keeps."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def is_memory(error: Exception) -> bool:
    """Whether memory ran out. Only some of torch's devices and libraries have a class for it."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return any(words in text for words in _WORDS)


_WORDS = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""In the messages of plain RuntimeErrors: of the CPU, of MPS and of CUDA's libraries."""


def release() -> None:
    """Give the memory that torch holds for later back to the device."""
    for device in (torch.cuda, torch.xpu, torch.mps):
        available = torch.backends.mps.is_available if device is torch.mps else device.is_available
        if available():
            device.empty_cache()


def retried(attempt: Callable[[], Result], make_room: Callable[[], bool]) -> Result:
    """`attempt`. If memory runs out, once more, unless `make_room` finds nothing to give up."""
    try:
        return attempt()
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error) or not make_room():
            raise
    # Not in the handler: the error refers to all that the failed attempt holds.
    release()
    return attempt()
