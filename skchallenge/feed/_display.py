"""The journeys of videos, and what rollouts make of them, as pictures."""

from collections.abc import Mapping
from typing import Any, Self

import pandas as pd

from skchallenge._table import as_frame, check_columns, check_count, printable

# What an event means for the video: it goes on, waits, ends, or gets another chance.
_GO, _HOLD, _END, _AGAIN = "go", "hold", "end", "again"
_COLORS = {_GO: "#9ecae1", _HOLD: "#fdd0a2", _END: "#d9d9d9", _AGAIN: "#c7b9e2"}
_LABELS = {
    _GO: "goes on",
    _HOLD: "waits or is paused",
    _END: "ends",
    _AGAIN: "boosted",
}
_COLUMNS = {
    "content": "content",
    "machine review": "machine\nreview",
    "human review": "human\nreview",
    "duplicate check": "duplicate\ncheck",
    "first batch": "first\nbatch",
    "boosted": "momentum",
    "cooled down": "end",
    "no viewers left": "end",
}
_NEEDED = ["video_id", "event", "stage", "score", "reason"]
_FIXED = list(dict.fromkeys(_COLUMNS.values()))
_BEFORE = _FIXED.index(_COLUMNS["first batch"]) + 1  # stages stand behind these
_WORD = 12  # letters of a genre that a cell has room for


class JourneyDisplay:
    """Draw the journey of each video, one row a video and one column a step.

    A cell has the points of the viewers who decided, or the outcome of a review; its
    colour says whether the video went on.

    Parameters
    ----------
    events : pandas.DataFrame
        Events of one world: `video_id`, `event`, `stage`, `score`, `reason`.
    exposures : pandas.Series or None, default=None
        Exposures in total by video id, in the order of the rows. It must be given.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes, after `plot`.
    figure_ : matplotlib Figure
        The figure, after `plot`.

    See Also
    --------
    FeedWorkflow : Makes such journeys.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skchallenge.feed import BatchRollout, JourneyDisplay
    >>> videos = pd.DataFrame({"video_id": ["a", "b"], "creator_id": ["ann", "bob"]})
    >>> viewers = pd.DataFrame({"viewer_id": range(4000), "persona": "all"})
    >>> def response(video, viewer, day):
    ...     return np.repeat(np.array([0.3, 0.05])[video], 5).reshape(-1, 5)
    >>> rollout = BatchRollout((100, 1000), threshold=3.0, random_state=0).fit()
    >>> result = rollout.simulate(videos, viewers, response)
    >>> display = JourneyDisplay.from_result(result)
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['a', 'b']
    """

    def __init__(
        self, events: pd.DataFrame, exposures: "pd.Series[int] | None" = None
    ) -> None:
        if not isinstance(events, pd.DataFrame) or exposures is None:
            raise TypeError(
                "events must be the events of one world, beside their exposures, got "
                f"{type(events).__name__}. Draw the result of a simulation with "
                "JourneyDisplay.from_result(result)."
            )
        check_columns(events.columns, _NEEDED, "events")
        self.events = events
        self.exposures = exposures

    @classmethod
    def from_result(
        cls, result: Any, *, world: int = 0, max_videos: int = 30, ax: Any = None
    ) -> Self:
        """Draw the journeys of a simulation.

        Parameters
        ----------
        result : sklearn.utils.Bunch
            What `FeedWorkflow.run` or `BatchRollout.simulate` returned.
        world : int, default=0
            Which world to draw.
        max_videos : int, default=30
            Most videos, the first ones, that are drawn.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : JourneyDisplay
            The drawn display.

        Raises
        ------
        TypeError
            If `result` is no result of a simulation.
        ValueError
            If there is no such world, or `max_videos` is no count.
        """
        check_count("max_videos", max_videos)
        if not hasattr(result, "keys") or not {"journeys", "events"} <= set(result):
            raise TypeError(
                "result must be what BatchRollout.simulate or FeedWorkflow.run "
                f"returned, with journeys and events, got {type(result).__name__}."
            )
        journeys = as_frame(result["journeys"], "journeys")
        check_columns(journeys.columns, ["world", "video_id", "exposures"], "journeys")
        journeys = journeys[journeys["world"] == world].head(max_videos)
        if journeys.empty:
            raise ValueError(
                f"world must be one of the simulated ones, got {world}. They count "
                "from 0."
            )
        exposures = journeys.set_index("video_id")["exposures"]
        events = result["events"]
        shown = (events["world"] == world) & events["video_id"].isin(exposures.index)
        return cls(events=events[shown], exposures=exposures).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : JourneyDisplay
            This object, with `ax_` and `figure_`.
        """
        # matplotlib is slow to import, and tables and rules do without it.
        import matplotlib.pyplot as plt
        from matplotlib.patches import Patch

        cells, columns = _cells(self.events)
        if ax is None:
            size = (1.6 + 1.1 * len(columns), 1.4 + 0.32 * len(self.exposures))
            _, ax = plt.subplots(figsize=size, layout="constrained")
        row = {video: i for i, video in enumerate(self.exposures.index)}
        for video, column, text, kind in cells:
            x, y = columns.index(column), row[video]
            ax.barh(y, 0.94, left=x - 0.47, height=0.86, color=_COLORS[kind])
            style: Any = {"ha": "center", "va": "center", "fontsize": 8}
            ax.text(x, y, text, parse_math=False, **style)
        for video, n in self.exposures.items():
            ax.text(
                len(columns), row[video], f"{n:,}", ha="center", va="center", fontsize=8
            )
        ax.set_xticks(range(len(columns) + 1), [*columns, "viewers"], fontsize=8)
        # An id is no formula, whatever dollar signs it has.
        names = [printable(video) for video in row]
        ax.set_yticks(range(len(row)), names, fontsize=8, parse_math=False)
        ax.set(xlim=(-0.6, len(columns) + 0.5), ylim=(len(row) - 0.4, -0.6))
        ax.tick_params(length=0, labeltop=True, labelbottom=False)
        ax.spines[:].set_visible(False)
        handles = [Patch(color=_COLORS[k], label=_LABELS[k]) for k in _LABELS]
        ax.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncol=4,
            frameon=False,
            fontsize=8,
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _cells(events: pd.DataFrame) -> tuple[list[tuple[Any, str, str, str]], list[str]]:
    """Turn events into (video, column, text, kind), and order the columns."""
    # Of several events in one cell the last is shown: a decision after its batch.
    cells = {}
    for event in events.to_dict("records"):
        column, text, kind = _cell(event)
        cells[event["video_id"], column] = text, kind
    used = {column for _, column in cells}
    stages = [column for column in used if column not in _FIXED]
    stages.sort(key=lambda column: int(column.removeprefix("stage ")))
    order = [*_FIXED[:_BEFORE], *stages, *_FIXED[_BEFORE:]]
    found = [(video, column, *cell) for (video, column), cell in cells.items()]
    return found, [column for column in order if column in used]


def _cell(event: dict[Any, Any]) -> tuple[str, str, str]:
    """Shorten an event to its column, a word or the points, and what it means."""
    name = event["event"]
    column = _COLUMNS.get(name, f"stage {event['stage']}")
    if name == "boosted":
        return column, name, _AGAIN
    if name in ("cooled down", "no viewers left"):
        return column, "cooled" if name == "cooled down" else "no\nviewers\nleft", _END
    if name == "content":  # "content: cats (of the table)"
        word = printable(event["reason"].partition(": ")[2].rpartition(" (")[0])
        return column, word if len(word) <= _WORD else word[: _WORD - 1] + "…", _GO
    if name in ("machine review", "human review", "duplicate check"):
        # The reason begins with the step: "duplicate check: a copy of 'v1'; stopped".
        word = printable(event["reason"].partition(": ")[2].partition(" ")[0])
        kinds = {"pass": _GO, "new": _GO, "review": _HOLD, "waits": _HOLD}
        return column, "copy" if word == "a" else word, kinds.get(word, _END)
    return column, f"{event['score']:.2f}", _HOLD if name == "paused" else _GO


# What is drawn of each rollout, in this order: a column, its title, and the end of its
# axis; None is left to the figures.
_MEASURES = (
    ("passed", "pass all stages\n(share of videos)", 1.0),
    ("exposures", "viewers a video\n(mean)", None),
    ("gini", "inequality of\nexposures (Gini)", 1.0),
    ("false_negative_rate", "held back, though\ndeserving (share)", 1.0),
    ("false_positive_rate", "passed, though not\ndeserving (share)", 1.0),
    ("regret", "regret (share of an\noracle's gain)", 1.0),
)
# What it means that a measure has no value in any world
_EMPTY = {
    "false_negative_rate": "no video deserving",
    "false_positive_rate": "no video undeserving",
    "regret": "no video deserving",
}


class RolloutDisplay:
    """Compare what rollouts do to the same videos, one row a rollout.

    A dot is the mean over the worlds, its line reaches from the least world to the
    greatest. Where lines overlap, rollouts are not told apart by so few worlds.

    Parameters
    ----------
    measures : pandas.DataFrame
        One row a rollout and world: `rollout`, its name, and what is drawn of `passed`,
        `exposures`, `gini`, `false_negative_rate`, `false_positive_rate` and `regret`,
        see `from_results`.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The axes, one a measure, after `plot`.
    figure_ : matplotlib Figure
        The figure, after `plot`.

    See Also
    --------
    BatchRollout : Makes what is compared.
    JourneyDisplay : Draws the journeys of one.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skchallenge.feed import BatchRollout, RolloutDisplay
    >>> videos = pd.DataFrame({"video_id": ["a", "b"], "creator_id": ["ann", "bob"]})
    >>> viewers = pd.DataFrame({"viewer_id": range(4000), "persona": "all"})
    >>> def response(video, viewer, day):
    ...     return np.repeat(np.array([0.3, 0.05])[video], 5).reshape(-1, 5)
    >>> results = {}
    >>> for rule in ("threshold", "lcb"):
    ...     rollout = BatchRollout((100, 1000), rule=rule, threshold=3.0).fit()
    ...     results[rule] = rollout.simulate(videos, viewers, response)
    >>> display = RolloutDisplay.from_results(results)
    >>> display.measures[["rollout", "passed", "exposures"]]
         rollout  passed  exposures
    0  threshold     0.5      600.0
    1        lcb     0.5      600.0
    """

    def __init__(self, measures: pd.DataFrame) -> None:
        if not isinstance(measures, pd.DataFrame):
            raise TypeError(
                "measures must be a table of rollouts and worlds, got "
                f"{type(measures).__name__}. Draw the results of simulations with "
                "RolloutDisplay.from_results({name: result, ...})."
            )
        check_columns(measures.columns, ["rollout"], "measures")
        self.measures = measures

    @classmethod
    def from_results(
        cls, results: Any, *, mistakes: Any = None, figure: Any = None
    ) -> Self:
        """Draw simulations of the same videos.

        Parameters
        ----------
        results : dict of str to sklearn.utils.Bunch
            Names, and what `BatchRollout.simulate` or `FeedWorkflow.run` returned.
        mistakes : dict of str to pandas.DataFrame or None, default=None
            What `BatchRollout.mistakes` returned, for each of the names. None leaves
            the last three measures out. Of rollouts with different thresholds they are
            comparable only at one `worth`.
        figure : matplotlib Figure or SubFigure or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : RolloutDisplay
            The drawn display. Its `measures` have, for each rollout and `world`, the
            share of videos that `passed` all stages, the mean `exposures` of a video,
            their `gini`, and the columns of `mistakes`.

        Raises
        ------
        TypeError
            If `results` are no dict of results.
        ValueError
            If there are none, they are of different videos, or `mistakes` are not of
            the same names and worlds.
        """
        needed = {"journeys", "events", "worlds"}
        if not isinstance(results, Mapping) or not all(
            hasattr(result, "keys") and needed <= set(result)
            for result in results.values()
        ):
            raise TypeError(
                "results must be a dict of names and results of BatchRollout.simulate "
                f"or FeedWorkflow.run, got {type(results).__name__}. Write "
                "{'threshold': result, ...}."
            )
        tables = [_measure(results[name]).assign(rollout=name) for name in results]
        videos = [set(result["journeys"]["video_id"]) for result in results.values()]
        if not videos or any(others != videos[0] for others in videos):
            raise ValueError(
                "results must be of the same videos, at least one result, got "
                f"{[len(ids) for ids in videos]} videos. Simulate all with one table."
            )
        if mistakes is not None:
            if set(mistakes) != set(results):
                raise ValueError(
                    f"mistakes must be of the results {list(results)}, got those of "
                    f"{list(mistakes)}."
                )
            for at, (name, table) in enumerate(zip(results, tables, strict=True)):
                if set(mistakes[name]["world"]) != set(table["world"]):
                    raise ValueError(
                        f"mistakes of {name!r} must be of its {len(table)} worlds, got "
                        f"{len(mistakes[name])}."
                    )
                tables[at] = table.merge(mistakes[name], on="world")
        return cls(pd.concat(tables, ignore_index=True)).plot(figure=figure)

    def plot(self, *, figure: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : RolloutDisplay
            This object, with `axes_` and `figure_`.
        """
        import matplotlib.pyplot as plt

        shown = [m for m in _MEASURES if m[0] in self.measures.columns]
        names = self.measures["rollout"].unique().tolist()
        if figure is None:
            size = (1.4 + 1.7 * len(shown), 1.1 + 0.32 * len(names))
            figure = plt.figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        by = self.measures.groupby("rollout", sort=False)
        for ax, (column, title, end) in zip(axes, shown, strict=True):
            found = by[column].agg(["mean", "min", "max"]).reindex(names)
            rows = range(len(names))
            ax.hlines(rows, found["min"], found["max"], color=_COLORS[_GO], lw=5)
            ax.plot(found["mean"], rows, "o", color="#08519c")
            ax.set_title(title, fontsize=9)
            low, high = found["min"].min(), found["max"].max()
            ax.set_xlim(
                min(0.0, low) - 0.03 * (end or high), 1.05 * max(end or 0, high)
            )
            if column in _EMPTY and found["mean"].isna().all():
                style: Any = {"ha": "center", "va": "center", "fontsize": 8}
                ax.text(0.5, 0.5, _EMPTY[column], transform=ax.transAxes, **style)
            ax.grid(axis="x", color="#eeeeee")
            ax.set_axisbelow(True)
            ax.tick_params(labelsize=8, left=False)
            ax.spines[["top", "right", "left"]].set_visible(False)
        # A name is no formula, whatever dollar signs it has.
        axes[0].set_yticks(rows, [printable(n) for n in names], parse_math=False)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        self.axes_, self.figure_ = axes, figure
        return self


def _measure(result: Any) -> pd.DataFrame:
    """Return what is drawn of each world of a simulation."""
    events, journeys = result["events"], result["journeys"]
    passes = events[events["reason"].str.startswith("passed all stages")]
    by = journeys.groupby("world")
    n = by.size()
    return pd.DataFrame(
        {
            "world": n.index,
            "passed": passes.groupby("world").size().reindex(n.index, fill_value=0) / n,
            "exposures": by["exposures"].mean(),
            "gini": result["worlds"].set_index("world")["gini"].reindex(n.index),
        }
    ).reset_index(drop=True)
