"""Places of the procedural world, seen from inside: rooms and landscapes with objects in them.

Units are those of splats: the eye is at the origin, the floor EYE_HEIGHT (`core.views.inside`)
below it, and a room is some four units wide. +X is in front. The objects stand around the eye in
the order of the caption, the first in front and each following one further to the left, so a
caption and a direction of view say what is seen.
"""
