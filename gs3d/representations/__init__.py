"""What a run optimizes: 3D Gaussians, a radiance field (NeRF) or a surface (DMTet)."""
