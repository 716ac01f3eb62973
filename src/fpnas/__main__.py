"""`python -m fpnas`, the same as the `fpnas` command."""

from fpnas.cli import main

raise SystemExit(main())
