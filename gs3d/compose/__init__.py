"""Several objects in one scene: what a scene file says, and where its objects go."""
