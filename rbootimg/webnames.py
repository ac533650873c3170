"""Names in a web root that releases and the development server share."""

from __future__ import annotations

STATUS_PAGE = "_status"
"""The development server's page of devices, which no application can be named after."""
