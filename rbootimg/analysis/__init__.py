"""What a file is, and what takes the room in it."""
