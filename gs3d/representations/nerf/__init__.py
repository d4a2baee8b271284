"""A radiance field on a hash grid (NeRF)."""
