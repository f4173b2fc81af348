"""The viewer, tried in a browser."""
