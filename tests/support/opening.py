"""What tests open for a while: it is closed again, also when it opens only halfway."""

from __future__ import annotations

from typing import Self


class Opened:
    """Stands between `with` and its end."""

    def open(self) -> None:
        """Have it there."""

    def close(self) -> None:
        """Leave nothing of it."""

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
