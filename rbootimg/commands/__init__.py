"""The commands of the command line, one module each; see rbootimg.cli.parser."""
