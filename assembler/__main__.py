"""`python -m assembler`: the command `golem-assemble`, where its script is not on PATH."""

from __future__ import annotations

from assembler.cli.main import main

if __name__ == "__main__":
    main()
