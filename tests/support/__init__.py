"""Makers and judges for the tests; they know the formats, nothing of the code under test."""
