"""A finding of the checks of a web root."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A finding about a file of a web root, or about the server's replies for it.

    `path` is relative to the web root; `fault` is False for a note. `client_fails` and `sample_fails` say whether
    rbootimg's update client and rBoot's OTA sample fail to update from the replies; None if none were fetched.
    """

    path: str
    text: str
    fault: bool = True
    client_fails: bool | None = None
    sample_fails: bool | None = None

    def to_json(self) -> dict[str, object]:
        """Return the finding as values for JSON."""
        return {
            "path": self.path,
            "fault": self.fault,
            "text": self.text,
            "client_fails": self.client_fails,
            "sample_fails": self.sample_fails,
        }
