"""One run: a `RunSpec` trained and evaluated through MMEngine's Runner, into a run folder.

The only room that knows MMEngine and MMDetection. It knows nothing of MLflow, Optuna or other runs.
"""
