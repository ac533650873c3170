"""The flash image: boot config, boot loader, the loader's decision, building and writing the image."""
