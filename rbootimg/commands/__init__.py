"""The commands of the command line, a module for each; rbootimg.cli says how."""
