"""When memory runs out: how it shows, and how to give back what torch keeps."""

import torch


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
