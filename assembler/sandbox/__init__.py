"""RUN's sandbox: a command is run upon a tree, and what it changed becomes a layer."""
