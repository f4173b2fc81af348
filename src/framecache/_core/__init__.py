"""Identity, time, settings, and small tools that every other package uses."""
