"""`wolfscale wal inspect`: what lies in a node's log."""
import typer
command = typer.Typer()
