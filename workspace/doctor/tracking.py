"""The stores that results go to: MLflow's, and Optuna's where a study was begun."""

from workspace.doctor.check import Answer, Checks, Request, error, ok
from workspace.errors import UserError
from workspace.search.storage import default_url, open_storage, study_file
from workspace.tracking.store import connect, default_uri


def runs(request: Request) -> Answer:
    """Asks the store for its experiments, which needs the rights that a run needs; a new SQLite store is not made."""
    uri = request.tracking_uri or default_uri(request.work_dir)
    if request.tracking_uri is None and not (request.work_dir / "mlflow" / "mlflow.db").exists():
        return ok(f"{uri} (not made yet)")
    try:
        found = connect(uri).search_experiments()
    except UserError:
        raise
    except Exception as failure:  # of whichever database driver or HTTP library is behind it
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        return error(f"{uri}: {reason}", "start it, or mend its address or password; runs go on and are tracked later")
    return ok(f"{uri}, {len(found)} experiments")


def studies(request: Request) -> Answer | None:
    if not study_file(request.work_dir).exists():
        return None
    url = default_url(request.work_dir)
    open_storage(url)
    return ok(url)


CHECKS: Checks = {"runs": runs, "studies": studies}
