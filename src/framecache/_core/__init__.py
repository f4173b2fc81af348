"""Identity, time, settings and small tools: pure, without I/O."""
