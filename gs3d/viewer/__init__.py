"""The browser viewer. Only this package imports viser."""
