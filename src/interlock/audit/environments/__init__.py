"""Environments of versions: locked with hashes, built once apart from everything else, and tried there."""
