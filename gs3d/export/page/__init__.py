"""A page that shows splats in any browser."""
