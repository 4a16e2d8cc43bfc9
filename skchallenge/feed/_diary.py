"""What happened to each video of a simulated world, and why."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

OUTCOMES = ("waiting", "widened", "paused", "cooled down", "no viewers left")
WAITING, WIDENED, PAUSED, COOLED, EXHAUSTED = range(len(OUTCOMES))

EVENTS = {
    "video": np.int64,
    "day": np.int64,
    "event": object,
    "stage": np.int64,
    "exposures": np.int64,
    "score": np.float64,
    "reason": object,
}
DECISIONS = {
    "video": np.int64,
    "day": np.int64,
    "stage": np.int64,
    "persona": object,
    "exposures": np.int64,
    "score": np.float64,
    "sd": np.float64,
    "evidence": np.float64,
    "threshold": np.float64,
    "probability": np.float64,
    "propensity": np.float64,
    "widened": np.bool_,
}


class Diary:
    """Events and decisions, appended in blocks and joined once at the end."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.events: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        self.n_decisions = 0

    def note(self, event: str, reason: list[str], **columns: Any) -> None:
        """Append an event of some videos."""
        if len(reason):
            self.events.append(columns | {"event": event, "reason": reason})

    def decide(self, **columns: Any) -> NDArray[np.int64]:
        """Append decisions, tell why, and return their row numbers."""
        widened = columns["widened"]
        columns["propensity"] = np.where(
            widened, columns["chance"], 1 - columns["chance"]
        )
        reason = [
            f"stage {stage} scored {score:.2f} against {threshold:.2f}: rule "
            f"{self.rule!r} widens with probability {chance:.3g}; "
            f"{'widened' if yes else 'paused'}"
            for stage, score, threshold, chance, yes in zip(
                columns["stage"],
                columns["score"],
                columns["threshold"],
                columns.pop("chance"),
                widened,
                strict=True,
            )
        ]
        events = {name: columns[name] for name in EVENTS if name in columns}
        for event, rows in (("widened", widened), ("paused", ~widened)):
            some = {
                name: np.broadcast_to(v, rows.shape)[rows] for name, v in events.items()
            }
            self.note(event, [reason[i] for i in np.flatnonzero(rows)], **some)
        self.decisions.append(columns)
        first = self.n_decisions
        self.n_decisions += len(widened)
        return np.arange(first, self.n_decisions)


def to_frame(blocks: list[dict[str, Any]], kinds: dict[str, Any]) -> pd.DataFrame:
    """Join blocks of columns; scalars in a block are repeated."""
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    for block in blocks:
        n = len(block["video"])
        for name, kind in kinds.items():
            values = np.asarray(block[name], dtype=kind)
            columns[name].append(np.broadcast_to(values, n))
    return pd.DataFrame(
        {
            name: np.concatenate(parts) if parts else np.empty(0, dtype=kinds[name])
            for name, parts in columns.items()
        }
    ).infer_objects()
