"""What surfaces are made of and what is done with them: tetrahedra, triangles in pictures, closed meshes, textures."""
