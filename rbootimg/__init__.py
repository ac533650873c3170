"""rbootimg: pack, check and publish rBoot ROMs for the ESP8266."""

__version__ = "0.1.0"
