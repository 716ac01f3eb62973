"""A browser for all tests of the report."""

from real_browser import browser  # noqa: F401  a fixture
