"""What a run optimizes: Gaussians, a radiance field (NeRF), or a surface (DMTet)."""
