"""A network of a chosen kind before an HTTP server on loopback.

Each answer's first byte is held until a seeded log-normal time after the end of its request, and
the bodies that a connection carries to the client come no faster than a given rate. Interim
answers (``100 Continue``) pass at once. ``python -m benchmarks.turnaround --help`` starts one;
:func:`benchmarks.turnaround.launch.running` does so for a program.
"""
