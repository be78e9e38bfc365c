"""A node in a container: its configuration from variables, and what several nodes share.

The package knows the image's layout (docker/Dockerfile), and ends by becoming `wolfscale start`: nothing of
it runs beside the node but the health check. It knows nothing of how a node works.

Public API: `entrypoint.main`, and `health`, which is a program.
"""
