"""The ways out, one file each, all of the shape in `base`."""
