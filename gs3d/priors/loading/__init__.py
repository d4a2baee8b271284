"""Loading of priors: names, hub downloads, the cache, model folders and their parts."""
