"""The sphere tracer: numba kernels for the CPU, and the same kernels on a CUDA device."""
