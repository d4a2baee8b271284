"""A signed distance on a tetrahedral grid, and the closed surface at its zero level (DMTet)."""
