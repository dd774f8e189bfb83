"""Snow that lies: on the ground in patches and between tyre tracks, on the upper edges of what stands, and on foliage."""
