"""The kind of a file, its contents, and an application's memory usage."""
