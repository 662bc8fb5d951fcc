"""An exception at any moment, as a signal is one."""

from __future__ import annotations

import sys


class Signal(BaseException):
    """Comes from nowhere, as a signal does."""


def interrupted(action, modules, number):
    """Do *action* and raise before the instruction *number* of *modules*; whether it came to it."""
    names = {module.__file__ for module in modules}
    left = number

    def trace(frame, event, _argument):
        nonlocal left
        if frame.f_code.co_filename not in names:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise Signal
        return trace

    sys.settrace(trace)
    try:
        action()
    except Signal:
        return True
    finally:
        sys.settrace(None)
    return False
