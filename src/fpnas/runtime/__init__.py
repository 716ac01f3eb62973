"""What every long run needs: its directory, its record, its progress, its set-up and its weights on disk."""
