"""How gs3d uses the machine: threads, OpenMP, memory, and the cache folder."""
