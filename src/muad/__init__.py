"""muad: one detector for every product on the line.

The verbs of the command line as Python: `train`, `calibrate`, `evaluate`, `Predictor`. Names are imported when first
used, so that `import muad` does not load torch; the first one also settles how many threads torch may take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muad._version import __version__
from muad.former import keep_former_names
from muad.threads import prepare_threads

if TYPE_CHECKING:
    from muad.bundling.export import export
    from muad.calibration.calibrate import calibrate
    from muad.capture.learning import learn_capture
    from muad.checking import check_data
    from muad.checkpoints.official import import_official
    from muad.comparison import compare
    from muad.conditions.study import evaluate_conditions
    from muad.configuration.run_config import RunConfig, load_config
    from muad.datasets.index import open_catalog
    from muad.errors import MuadError
    from muad.evaluation.evaluate import evaluate
    from muad.extension import ExtensionSettings, extend, forget
    from muad.metrics.report import Report
    from muad.recognition import learn_products
    from muad.reporting import report
    from muad.runtime.looking import Photograph
    from muad.runtime.objects import ObjectPrediction, ViewedObject
    from muad.runtime.prediction import ImagePrediction
    from muad.runtime.predictor import Predictor
    from muad.training.run import train

keep_former_names()

_HOMES = {
    "ExtensionSettings": "muad.extension",
    "ImagePrediction": "muad.runtime.prediction",
    "MuadError": "muad.errors",
    "ObjectPrediction": "muad.runtime.objects",
    "Photograph": "muad.runtime.looking",
    "Predictor": "muad.runtime.predictor",
    "Report": "muad.metrics.report",
    "RunConfig": "muad.configuration.run_config",
    "ViewedObject": "muad.runtime.objects",
    "calibrate": "muad.calibration.calibrate",
    "check_data": "muad.checking",
    "compare": "muad.comparison",
    "evaluate": "muad.evaluation.evaluate",
    "evaluate_conditions": "muad.conditions.study",
    "export": "muad.bundling.export",
    "extend": "muad.extension",
    "forget": "muad.extension",
    "import_official": "muad.checkpoints.official",
    "learn_capture": "muad.capture.learning",
    "learn_products": "muad.recognition",
    "load_config": "muad.configuration.run_config",
    "open_catalog": "muad.datasets.index",
    "report": "muad.reporting",
    "train": "muad.training.run",
}

__all__ = [
    "ExtensionSettings",
    "ImagePrediction",
    "MuadError",
    "ObjectPrediction",
    "Photograph",
    "Predictor",
    "Report",
    "RunConfig",
    "ViewedObject",
    "__version__",
    "calibrate",
    "check_data",
    "compare",
    "evaluate",
    "evaluate_conditions",
    "export",
    "extend",
    "forget",
    "import_official",
    "learn_capture",
    "learn_products",
    "load_config",
    "open_catalog",
    "report",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module 'muad' has no attribute {name!r}")
    from muad.bench import bench

    prepare_threads()
    return getattr(bench(_HOMES[name].removeprefix("muad.")), name)


def __dir__() -> list[str]:
    return __all__
