"""A closed surface on a grid of tetrahedra (DMTet)."""
