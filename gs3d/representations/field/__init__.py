"""What a radiance field is made of: hash grid, networks, and where it is empty."""
