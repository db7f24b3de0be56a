"""From what a data set calls an image to the file that is meant: names written on other systems, or from elsewhere."""

import os
import unicodedata
from pathlib import Path, PurePosixPath


class ImageFolder:
    """A folder of images, and the names of the files in it.

    Found are also names with backslashes, absolute paths below the folder, and names whose accents are written in
    another of Unicode's ways (macOS writes them in two characters, most others in one).

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, str] | None = None

    def find(self, name: str, base: Path | None = None) -> str:
        """The path of an image, relative to the folder and in one spelling, so that `./a.jpg` and `a.jpg` are never two
        images; of a file that is not there the name as it was given, in that spelling.

        Args:
            name: of the image.
            base: another folder, within this one, that names may be relative to.
        """
        name = name.strip()
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            if (path := self._relative(spelling)) is None:
                continue
            for place in (path, *self._within(path, base)):
                if (self.root / place).is_file():
                    return place
                if found := self._by_normal_form(place):
                    return found
        return self._relative(name) or str(PurePosixPath(name))

    def _relative(self, name: str) -> str | None:
        """A name relative to the folder; None of one that is elsewhere."""
        path = PurePosixPath(name)
        if not path.is_absolute():
            return str(path)
        for root in (self.root.absolute(), self.root.resolve()):
            if path.is_relative_to(root.as_posix()):
                return str(path.relative_to(root.as_posix()))
        return None

    def _within(self, path: str, base: Path | None) -> tuple[str, ...]:
        if base is None or not base.resolve().is_relative_to(self.root.resolve()):
            return ()
        return ((base.resolve().relative_to(self.root.resolve()) / path).as_posix(),)

    def _by_normal_form(self, path: str) -> str | None:
        """The file whose name is the same text in another of Unicode's normal forms."""
        if path.isascii():
            return None
        if self._files is None:
            found = (
                os.path.relpath(os.path.join(folder, file), self.root)
                for folder, _, files in os.walk(self.root)
                for file in files
            )
            self._files = {_normal(file): Path(file).as_posix() for file in found if not file.isascii()}
        return self._files.get(_normal(path))


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", path)
