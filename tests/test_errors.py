"""What a user is told, on standard error."""

import sys

import pytest

from fpnas.errors import tell


def test_a_message_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes whose standard error is one file, messages that are written in parts mix."""
    written: list[str] = []

    class Unbuffered:
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stderr", Unbuffered())
    tell("fpnas: one line")
    assert written == ["fpnas: one line\n"]
