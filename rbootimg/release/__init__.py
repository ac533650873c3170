"""Releases: versions, manifests, the web root and its transactions, checks, pages."""
