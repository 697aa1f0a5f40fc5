"""Pictures from a snapshot."""
