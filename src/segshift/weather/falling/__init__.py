"""What falls through the air, rain or snow: many small things between the camera and the scene, and the veil of those too far to be seen singly."""
