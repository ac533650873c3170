"""PlatformIO's monitor filter `rboot`: decodes crashes. This file is for the directory monitor/ of a project."""

from __future__ import annotations

from platformio.public import DeviceMonitorFilterBase

from rbootimg.views.piofilter import PlatformioFilter


class Rboot(DeviceMonitorFilterBase):  # type: ignore[misc] # PlatformIO is untyped
    """The filter of `monitor_filters = rboot`."""

    NAME = "rboot"

    def __init__(self, options: object = None) -> None:
        super().__init__(options)
        self._filter = PlatformioFilter(self.config, self.environment)

    def rx(self, text: str) -> str:
        """Return the device's output with reports about crashes."""
        return self._filter.rx(text)
