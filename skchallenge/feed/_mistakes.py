"""How often the verdicts of a simulation were wrong, and what that cost."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_TESTS = ("first batch", "rescored")  # what every rule shows, before it decides


def mistakes_of(
    result: Any, means: Any, worth: float, stages: NDArray[np.int64]
) -> pd.DataFrame:
    """Judge the journeys of all worlds, as `BatchRollout.mistakes` says."""
    journeys, decisions = result["journeys"], result["decisions"]
    n_worlds = journeys["world"].nunique()
    keys = ["world", "video_id"]
    true = _check_means(means, journeys["video_id"], decisions["persona"])
    best = true.max(axis=1)
    deserves = (best >= worth).reshape(n_worlds, -1)
    reached = (journeys["stage"] == len(stages)).to_numpy().reshape(n_worlds, -1)

    video = pd.MultiIndex.from_frame(journeys[keys])
    tests = result["events"][result["events"]["event"].isin(_TESTS)]
    tested = tests.groupby(keys)["exposures"].sum().reindex(video, fill_value=0)
    later = journeys["exposures"].to_numpy(np.int64) - tested.to_numpy(np.int64)
    # The persona of a video is settled before the first decision. Without one, nothing
    # was shown later.
    persona = decisions.drop_duplicates(keys).set_index(keys)["persona"]
    column = means.columns.get_indexer(persona.reindex(video))
    gain = (true[np.arange(len(true)), column] - worth) * later
    gained = np.where(column < 0, 0.0, gain).reshape(n_worlds, -1).sum(axis=1)
    possible = (best - worth).clip(min=0).reshape(n_worlds, -1).sum(axis=1)
    return pd.DataFrame(
        {
            "world": np.arange(n_worlds),
            "false_kills": _share(deserves & ~reached, deserves),
            "false_wides": _share(reached & ~deserves, ~deserves),
            "regret": 1 - _ratio(gained, possible * stages[1:].sum()),
        }
    )


def _check_means(
    means: Any, videos: "pd.Series[Any]", personas: "pd.Series[Any]"
) -> NDArray[np.float64]:
    """Return the means of each row of the journeys, one column a persona.

    Raises
    ------
    TypeError
        If they are not a pandas table.
    ValueError
        If a video or persona is not there, or not once, or a mean is not finite.
    """
    if not isinstance(means, pd.DataFrame):
        raise TypeError(
            "means must be a pandas DataFrame, whose index are the video ids and whose "
            f"columns are the personas, got {type(means).__name__}. Wrap an array in "
            "pandas.DataFrame(..., index=videos['video_id'], columns=...)."
        )
    for name, found, needed in (
        ("video ids", means.index, videos),
        ("personas", means.columns, personas),
    ):
        missing = pd.Index(needed.unique()).difference(found).tolist()
        if missing or not found.is_unique:
            raise ValueError(
                f"means must have all {name} of the simulation, each once, got "
                f"{len(found)}, {found.duplicated().sum()} of them repeated, and lacks "
                f"{missing[:5]}."
            )
    true = means.to_numpy(dtype=np.float64)[means.index.get_indexer(pd.Index(videos))]
    if not np.isfinite(true).all():
        raise ValueError(
            "means must be finite numbers, the true mean points of every video to "
            f"every persona, got {np.isfinite(true).sum()} of {true.size}."
        )
    return true


def _share(some: NDArray[np.bool_], of: NDArray[np.bool_]) -> NDArray[np.float64]:
    return _ratio(some.sum(axis=1), of.sum(axis=1))


def _ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """Divide; a share of nothing is NaN."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan), dtype=np.float64)
