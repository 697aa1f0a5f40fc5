"""Network snapshots: reading them safely, writing them, and starting from their weights."""
