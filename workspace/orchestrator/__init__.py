"""Plays experiments and comparisons: trains, searches, judges. What is finished is never done again."""

from workspace.orchestrator.phases import list_plan, play
from workspace.orchestrator.settings import Settings

__all__ = ["Settings", "list_plan", "play"]
