"""``python -m workspace``: what concerns all experiments."""

import click

from workspace.cli import start
from workspace.commands.data import data
from workspace.commands.diagnose import diagnose
from workspace.commands.doctor import doctor
from workspace.commands.export import export
from workspace.commands.serve import serve
from workspace.commands.sync import sync
from workspace.commands.test import test
from workspace.commands.train import train


@click.group()
def commands() -> None:
    """Measure, search and judge the accuracy cost of FP16 mixed precision in MMDetection models on Ascend NPUs."""


for command in (data, diagnose, doctor, export, serve, sync, test, train):
    commands.add_command(command)

if __name__ == "__main__":
    start(commands, "python -m workspace")
