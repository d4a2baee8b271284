"""3D Gaussians and their densification."""
