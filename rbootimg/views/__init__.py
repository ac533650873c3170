"""What people read on a terminal or in a picture."""
