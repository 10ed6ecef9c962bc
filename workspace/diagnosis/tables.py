"""A diagnosis as tidy tables, for its picture, a notebook and whoever wants to look closer."""

import json
import math
from pathlib import Path

import pandas as pd

from workspace.diagnosis.findings import Cause, Diagnosis, MemberFinding
from workspace.files import write_atomically


def diagnosis_table(found: Diagnosis) -> pd.DataFrame:
    """One row: what was compared, errors of ``gradient`` and ``update``, and what ``another_batch`` changes of it.

    ``loss_scale`` is the one that the run's policy comes to, nothing where there is none.
    """
    row = {
        "detector": found.detector,
        "scale": found.scale,
        "precision": found.precision.name,
        "weights": found.weights,
        "pictures": found.pictures,
        "loss_scale": None if found.loss_scale is None else f"{found.loss_scale:g}",  # all its digits
        "update": found.errors.update,
        "gradient": found.errors.gradient,
        "skipped": found.errors.skipped,
        "another_batch": found.unit.update,
        "noise": found.noise,
    }
    return pd.DataFrame([row])


def causes_table(found: Diagnosis) -> pd.DataFrame:
    """One row a cause, in their order: ``cause`` (in words), and the fields of `Cause`."""
    rows = [
        {
            "cause": _words(cause),
            "kind": cause.kind,
            "where": cause.where,
            "share": cause.share,
            "alone": math.nan if cause.alone is None else cause.alone,
            "evidence": cause.evidence,
        }
        for cause in found.causes
    ]
    return pd.DataFrame(rows, columns=["cause", "kind", "where", "share", "alone", "evidence"])


def proposals_table(found: Diagnosis) -> pd.DataFrame:
    """One row a proposal, in their order: ``changes`` (JSON), and the ``share`` and ``flops_in_half`` of `Proposal`."""
    rows = [(json.dumps(proposal.changes), proposal.share, proposal.flops_in_half) for proposal in found.proposals]
    return pd.DataFrame(rows, columns=["changes", "share", "flops_in_half"])


def members_table(found: Diagnosis) -> pd.DataFrame:
    """One row a module or method, in the order of their first calls.

    Columns ``name``, ``depth``, ``order``, ``is_layer``; relative errors ``made_here``, ``output``, ``gradient``,
    ``parameters``; ``cosine`` (of the gradient), ``overflow`` (of the output) and ``underflow`` (of the gradient), and
    ``share`` and ``alone`` of the update's error. nan where there is none.
    """
    return pd.DataFrame([_row(member) for member in found.members])


def moments_table(found: Diagnosis) -> pd.DataFrame:
    """One row a layer and diagnosed step of a training: ``step``, ``name``, ``order``, ``error``, ``underflow``."""
    layers = {member.name: member.order for member in found.members if member.made_here is not None}
    rows = [
        (moment.step, name, layers[name], error, moment.underflow[name])
        for moment in found.moments
        for name, error in moment.error.items()
        if name in layers
    ]
    return pd.DataFrame(rows, columns=["step", "name", "order", "error", "underflow"])


def write_tables(found: Diagnosis, folder: Path) -> list[Path]:
    """Writes each table as ``NAME.csv``; that of the moments only where a training was gone along with."""
    tables = {
        "diagnosis": diagnosis_table(found),
        "causes": causes_table(found),
        "proposals": proposals_table(found),
        "members": members_table(found),
    }
    if found.moments:
        tables["moments"] = moments_table(found)
    paths = []
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.4g")
        write_atomically(folder / f"{name}.csv", lambda temporary, text=text: temporary.write_text(text))  # type: ignore[misc]
        paths.append(folder / f"{name}.csv")
    return paths


def _row(member: MemberFinding) -> dict[str, object]:
    out, back, own = member.output, member.gradient, member.parameters
    return {
        "name": member.name,
        "depth": member.depth,
        "order": member.order,
        "is_layer": member.made_here is not None,
        "made_here": member.made_here,
        "output": None if out is None else out.error,
        "gradient": None if back is None else back.error,
        "parameters": None if own is None else own.error,
        "cosine": None if back is None else back.cosine,
        "overflow": None if out is None else out.overflow,
        "underflow": None if back is None else back.underflow,
        "share": member.share,
        "alone": member.alone,
    }


def _words(cause: Cause) -> str:
    return {
        "module": cause.where,
        "loss_scale": f"loss scale {cause.where}",
        "overflow": "overflow in the forward pass",
        "optimizer": f"optimizer rounds its {cause.where}",
    }[cause.kind]
