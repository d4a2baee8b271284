"""The sphere tracer: kernels for the CPU, and the same on a CUDA device."""
