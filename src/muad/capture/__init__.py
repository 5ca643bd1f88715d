"""Whether a photograph was taken as the good ones were: light, sharpness, and whether it shows anything at all.

A detector scores whatever it is given, and a frame of one grey may look less anomalous than any part. So quantities of
the photograph alone, without any network, say whether it can be judged: what cannot never passes. Their limits are
learned from the good photographs of each product and lie in `RUN/capture.toml`. Measuring and judging need NumPy and
OpenCV only; what reads a run to learn from it is in `learning`. docs/capture-proof.md says how well it works.
"""

from muad.capture.limits import CAPTURE_FILE, NOT_CHECKED, CaptureLimits, has_capture, read_capture
from muad.capture.quantities import Capture, measure
from muad.capture.reasons import NO_CONTENT, Reason, content_reasons

__all__ = [
    "CAPTURE_FILE",
    "NOT_CHECKED",
    "NO_CONTENT",
    "Capture",
    "CaptureLimits",
    "Reason",
    "content_reasons",
    "has_capture",
    "measure",
    "read_capture",
]
