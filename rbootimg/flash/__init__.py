"""A whole flash: boot config, boot loader, flash image, what the loader decides, writing it."""
