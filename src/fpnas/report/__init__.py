"""Runs as a page: one HTML file that needs nothing else, and the same while a run is under way."""
