"""The commands of the command line, a module for each; rbootimg.cli.main says how."""
