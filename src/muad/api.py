"""The verbs, gathered; each lives with its subject. `import muad` gives the same names, each when it is asked for."""

from muad.bundling.export import export
from muad.calibration.calibrate import calibrate
from muad.capture.learning import learn_capture
from muad.checking import check_data
from muad.checkpoints.official import import_official
from muad.comparison import compare
from muad.evaluation.evaluate import evaluate
from muad.extension import extend, forget
from muad.recognition import learn_products
from muad.reporting import report
from muad.runtime.predictor import Predictor
from muad.training.run import train

__all__ = [
    "Predictor",
    "calibrate",
    "check_data",
    "compare",
    "evaluate",
    "export",
    "extend",
    "forget",
    "import_official",
    "learn_capture",
    "learn_products",
    "report",
    "train",
]
