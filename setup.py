"""Makes the archives of a release the same bytes wherever and whenever they are built; all else is in setup.cfg.

setuptools puts into them the times, permissions and owners that the files have in this checkout, and the clock's time.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import time
import zipfile

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.sdist import sdist

EARLIEST = 315532800
"""1980-01-01, in a zip the first day there is."""

TIME = max(EARLIEST, int(os.environ.get("SOURCE_DATE_EPOCH") or EARLIEST))
"""That of each file."""


def permissions(mode: int) -> int:
    return 0o755 if mode & stat.S_IXUSR else 0o644


def normalize_tar(path: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old, key=lambda member: member.name):
            entry = tarfile.TarInfo(member.name)
            entry.mtime, entry.mode = TIME, permissions(member.mode)
            if member.isdir():
                entry.type = tarfile.DIRTYPE
                new.addfile(entry)
            else:  # of two names of one file the second is a link, but no less a file
                content = old.extractfile(member).read()
                entry.size = len(content)
                new.addfile(entry, io.BytesIO(content))
    with open(path, "wb") as file:
        file.write(gzip.compress(packed.getvalue(), mtime=TIME))


def normalize_zip(path: str) -> None:
    with zipfile.ZipFile(path) as old:
        members = [(member, old.read(member)) for member in old.infolist()]  # in order, with RECORD at the end
    with zipfile.ZipFile(path, "w") as new:
        for member, content in members:
            entry = zipfile.ZipInfo(member.filename, time.gmtime(TIME)[:6])
            entry.external_attr = (stat.S_IFREG | permissions(member.external_attr >> 16)) << 16
            new.writestr(entry, content, zipfile.ZIP_DEFLATED)


class Sdist(sdist):
    def run(self) -> None:
        super().run()
        for path in self.get_archive_files():
            normalize_tar(path)


class Wheel(bdist_wheel):
    def run(self) -> None:
        super().run()
        for command, _, path in self.distribution.dist_files:
            if command == "bdist_wheel":
                normalize_zip(path)


setup(cmdclass={"sdist": Sdist, "bdist_wheel": Wheel})
