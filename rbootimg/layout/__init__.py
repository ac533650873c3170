"""Flash layouts: addresses, slots, regions, layout files."""
