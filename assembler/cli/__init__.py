"""The command line: options into settings, results into text. No logic of its own."""
