"""``python -m workspace``: what concerns all experiments."""

import sys

import click

from workspace.commands.export import export


@click.group()
def commands() -> None:
    """Measure, search and judge the accuracy cost of FP16 mixed precision in MMDetection models on Ascend NPUs."""


for command in (export,):
    commands.add_command(command)

if __name__ == "__main__":
    sys.exit(commands())
