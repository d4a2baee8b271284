"""Presets: read by `training.config.load_config` as the package `gs3d.configs`."""
