"""Whether a photograph was taken as the good ones were: light, sharpness, and whether it shows anything at all.

A detector scores whatever it is given, and a frame of one grey may look less anomalous than any part. So quantities of
the photograph alone, without any network, say whether it can be judged: what cannot never passes. Everything here but
`learning` needs NumPy and OpenCV only. docs/capture.md says what is measured, and how well it works.
"""

from muad.capture.quantities import Capture, measure
from muad.capture.reasons import NO_CONTENT, Reason, content_reasons

__all__ = ["NO_CONTENT", "Capture", "Reason", "content_reasons", "measure"]
