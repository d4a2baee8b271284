"""Training of the small networks that gs3d ships: the built-in prior and the recogniser. Users never need this room."""
