"""What the terminal is shown."""

from simstudent.dialogue.preview import printable


def test_a_program_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\n\tc\x9b") == "a\ufffd[2Jb\ufffd\n\tc\ufffd"
