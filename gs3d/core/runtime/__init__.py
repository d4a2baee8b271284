"""Use of the machine: threads, OpenMP, memory and the cache folder."""
