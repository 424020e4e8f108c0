"""What can be typed. Nothing here imports torch, so that it is answered at once."""
