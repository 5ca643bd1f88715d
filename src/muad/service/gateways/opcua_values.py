"""What the OPC UA server shows of an inspection: names, types, values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from muad.service.gateways.base import Message

if TYPE_CHECKING:
    from asyncua import ua

NAMESPACE: Final = "urn:muad:station"
CODES: Final = {"pass": 1, "review": 2, "reject": 3, "unknown product": 4, "no verdict": 5, "error": 6}
"""`VerdictCode` of each verdict; 0 before the first part. A part may go on at 1 alone."""
Kind = Literal["String", "Double", "DateTime", "UInt32", "UInt16"]
VALUES: Final[Mapping[str, Kind]] = {
    **{"Verdict": "String", "VerdictCode": "UInt16", "Score": "Double", "PValue": "Double"},
    **{"ReviewAbove": "Double", "RejectAbove": "Double", "Regions": "UInt32"},
    **{"Product": "String", "Serial": "String", "Lot": "String", "Notice": "String", "Error": "String"},
    **{"Time": "DateTime", "Model": "String", "InspectionId": "String"},
    **{"CountPass": "UInt32", "CountReview": "UInt32", "CountReject": "UInt32", "CountOther": "UInt32"},
    "Inspections": "UInt32",
}
"""The nodes of a station, in the order in which they are set, and their types."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def values_of(message: Message, before: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of an inspection, as plain values; counters go on from before."""
    counter = {"pass": "CountPass", "review": "CountReview", "reject": "CountReject"}.get(
        message["verdict"], "CountOther"
    )
    counts = {name: before.get(name, 0) for name in VALUES if name.startswith("Count") or name == "Inspections"}
    for name in (counter, "Inspections"):
        counts[name] = (counts[name] + 1) % 2**32
    return {
        "Verdict": message["verdict"],
        "VerdictCode": CODES[message["verdict"]],
        "Score": message["score"],
        "PValue": message["p_value"],
        "ReviewAbove": message["review_above"],
        "RejectAbove": message["reject_above"],
        "Regions": len(message["regions"]),
        "Product": message["product"],
        "Serial": message["serial"],
        "Lot": message["lot"],
        "Notice": message["notice"],
        "Error": message["error"],
        "Time": message["at"],
        "Model": message["model_id"],
        "InspectionId": message["id"],
        **counts,
    }


def variant(kind: Kind, value: Any) -> ua.Variant:  # noqa: ANN401  a plain value
    """The value as OPC UA has it; what is not known as NaN, empty or 1970."""
    from asyncua import ua

    if kind == "Double":
        value = math.nan if value is None else float(value)
    elif kind == "String":
        value = value or ""
    elif kind == "DateTime":
        value = _EPOCH if value is None else datetime.fromisoformat(value)
    return ua.Variant(value, ua.VariantType[kind])


def node_id(name: str, namespace: int) -> ua.NodeId:
    """Under which a client finds it."""
    from asyncua import ua

    return ua.NodeId(ua.String(name), ua.Int16(namespace))
