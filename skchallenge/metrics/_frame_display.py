"""Which frames of a video a model heeds, as a picture."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skchallenge.exceptions import MediaError
from skchallenge.media._frame_sampling import Images
from skchallenge.media._read import Clip, read_clips
from skchallenge.media._source import WANTED, read_source

Floats = NDArray[np.float64]
_OF_EMBEDDER = ("n_frames", "image_size", "pooling", "transform")
_TOLERANCE = 0.02  # of the largest feature: what bfloat16 rounds
_AT_ONCE = (
    "estimator must begin with an embedder that pools the vectors of single frames, "
    "but its vector of the clip is another: its network reads a clip at once, so no "
    "frame can be left out."
)
_COLOURS = ("tab:orange", "tab:blue")  # against the second class, and for it


class FrameDisplay:
    """The frames that a model saw, over what each did to its answer.

    Make one with `from_estimator`. A bar is the probability of the second class, less
    what it would be without the frame: above 0, the frame speaks for the class.

    Parameters
    ----------
    frames : sequence of ndarray of shape (height, width, 3), dtype uint8
        The frames, in order.
    change : sequence of float, one a frame
        What each frame adds to the probability.
    probability : float or None, default=None
        The answer to the whole clip.
    label : object, default=1
        The class whose probability it is.
    estimator_name : str or None, default=None
        What the title calls the model.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes of the bars; the frames are in an inset above.
    figure_ : matplotlib.figure.Figure
        The figure that holds them.
    bars_ : matplotlib.container.BarContainer
        The bars.

    See Also
    --------
    modality_report : Which modality tells, over all files.
    VideoFrameEmbedder : Samples the frames.

    Notes
    -----
    Frames are left out one at a time. Where several show the same, the others speak in
    its stead, and no bar is high. And a bar says what this model heeds, not why the
    video did well.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from torch import nn
    >>> from skchallenge import VideoFrameEmbedder
    >>> from skchallenge.metrics import FrameDisplay
    >>> def mean_colour():
    ...     return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> shades = [0, 0, 0, 200, 0, 0, 0, 0, 0, 0]
    >>> clips = [np.full((3, 8, 8, 3), shade, np.uint8) for shade in shades]
    >>> embedder = VideoFrameEmbedder(mean_colour, n_frames=3, image_size=8)
    >>> model = make_pipeline(embedder, LogisticRegression())
    >>> model = model.fit(clips, np.greater(shades, 100))
    >>> clip = np.full((3, 8, 8, 3), 20, np.uint8)
    >>> clip[1] = 250  # a flash
    >>> display = FrameDisplay.from_estimator(model, clip)
    >>> int(np.argmax(display.change)), display.label
    (1, True)
    """

    def __init__(
        self,
        frames: Sequence[Images],
        change: Sequence[float],
        *,
        probability: float | None = None,
        label: object = 1,
        estimator_name: str | None = None,
    ) -> None:
        if np.ndim(change) != 1 or len(frames) != len(change):
            raise ValueError(
                f"change must hold one number a frame, got shape {np.shape(change)} "
                f"for {len(frames)} frames. FrameDisplay.from_estimator makes both."
            )
        self.frames = frames
        self.change = change
        self.probability = probability
        self.label = label
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        clip: Any,
        *,
        ax: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Leave out one frame after the other, and draw what changes.

        The network runs once a frame. With mean and max pooling the others are pooled
        as they would be; with ``pooling="concat"`` their mean stands in its place.

        Parameters
        ----------
        estimator : estimator
            A fitted pipeline for two classes that begins with a `VideoFrameEmbedder`,
            or with a ColumnTransformer of nothing else; or a fitted search for one. Of
            `make_virality_stack`, the model of frames:
            ``model.named_estimators_["video"]``.
        clip : path, bytes, array of uint8 or list of these
            One video, as `VideoFrameEmbedder` takes it in a cell.
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a figure.
        name : str or None, default=None
            What the title calls the model; None is the name of its last class.
        **kwargs : dict
            Given to `matplotlib.axes.Axes.bar`.

        Returns
        -------
        display : FrameDisplay
            The drawn display.

        Raises
        ------
        MediaError
            If the file is missing, unreadable or holds no picture.
        TypeError
            If the estimator does not begin with an embedder of frames and end in a
            classifier with `predict_proba`, or `clip` is no clip.
        ValueError
            If it has other than two classes, the embedder samples one frame only, or
            its vector is not pooled of its frames, as of a network that reads a clip at
            once.
        """
        check_is_fitted(estimator)
        model = getattr(estimator, "best_estimator_", estimator)
        embedder, after = _take_apart(model)
        classes = getattr(model, "classes_", None)
        if not after or not hasattr(after[-1], "predict_proba") or classes is None:
            raise TypeError(
                "estimator must end in a classifier with predict_proba, got "
                f"{type(model).__name__}. Wrap yours in "
                "sklearn.calibration.CalibratedClassifierCV."
            )
        if len(classes) != 2:
            raise ValueError(f"estimator must have two classes, got {list(classes)}.")
        frames, vectors = _leave_out(embedder, clip)
        chance = _predict(after, vectors)[:, 1]  # of the whole, then without each frame
        display = cls(
            frames,
            chance[0] - chance[1:],
            probability=float(chance[0]),
            label=classes[1].item() if hasattr(classes[1], "item") else classes[1],
            estimator_name=type(after[-1]).__name__ if name is None else name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the frames over the bars.

        Parameters
        ----------
        ax : matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Given to `matplotlib.axes.Axes.bar`.

        Returns
        -------
        display : FrameDisplay
            This object.
        """
        from matplotlib.ticker import MaxNLocator

        n = len(self.frames)
        if ax is None:
            import matplotlib.pyplot as plt

            size = (min(max(1.0 * n, 5.0), 14.0), 3.6)
            _, ax = plt.subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        numbers = np.arange(1, n + 1)
        colours = [_COLOURS[int(change > 0)] for change in self.change]
        options = {"width": 0.9, "color": colours, **kwargs}
        self.bars_ = ax.bar(numbers, self.change, **options)
        ax.axhline(0, color="0.5", linewidth=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="Frame", ylabel="Adds to the\nprobability", xlim=(0.4, n + 0.6))
        strip = ax.inset_axes((0, 1.03, 1, 0.45))
        for number, frame in zip(numbers, self.frames, strict=True):
            extent = (number - 0.47, number + 0.47, 0, 1)
            strip.imshow(frame, extent=extent, aspect="auto")
        strip.set(xlim=(0.4, n + 0.6), ylim=(0, 1))
        strip.axis("off")
        says = None
        if self.probability is not None:
            says = f"P({self.label}) = {self.probability:.3f}"
        strip.set_title(", ".join(filter(None, (self.estimator_name, says))))
        return self


def _take_apart(model: Any) -> tuple[Any, list[Any]]:
    """Return the embedder that a model begins with, and the steps after it."""
    if hasattr(model, "steps"):
        embedder, after = _take_apart(model[0])
        steps = [step for _, step in model.steps[1:]]
        return embedder, after + [s for s in steps if s not in (None, "passthrough")]
    if hasattr(model, "transformers_"):
        parts = [part for _, part, _ in model.transformers_ if part != "drop"]
        if len(parts) == 1:
            return _take_apart(parts[0])
    if all(hasattr(model, name) for name in _OF_EMBEDDER):
        return model, []
    raise TypeError(
        "estimator must be a pipeline that begins with a VideoFrameEmbedder, and with "
        f"nothing beside it, but it begins with {type(model).__name__}. Of a stack, "
        "pass the model of frames: model.named_estimators_['video']."
    )


def _leave_out(embedder: Any, clip: Any) -> tuple[list[Images], Floats]:
    """Return the frames of a clip, and its vector, whole and without each of them."""
    n = embedder.n_frames
    if n < 2:
        raise ValueError(
            "estimator must have an embedder of two frames or more, got n_frames=1: "
            "without it nothing is left. Fit one with more."
        )
    read = _read(clip, n, embedder.limits)
    single = clone(embedder).set_params(n_frames=1, pooling="mean", store=None)
    try:
        features = np.asarray(single.fit_transform(list(read.frames)))
    except ValueError as error:  # that it sees more than one at once
        raise ValueError(_AT_ONCE) from error
    features = features[read.frame_index]

    def pooled(without: int | None) -> Floats:
        kept = np.arange(n) != without
        if embedder.pooling == "max":
            return features[kept].max(axis=0)
        mean = features[kept].mean(axis=0)
        if embedder.pooling == "mean":
            return mean
        return np.where(kept[:, None], features, mean).ravel()  # (n * d,)

    vectors = np.stack([pooled(without) for without in (None, *range(n))])
    column: Any = pd.Series([clip], dtype=object)  # a list of lists would be a table
    if hasattr(embedder, "feature_names_in_"):
        column = column.to_frame(embedder.feature_names_in_[0])
    whole = np.asarray(embedder.transform(column))[0]
    error = np.abs(vectors[0] - whole).max() if vectors.shape[1] == len(whole) else 1.0
    if error > _TOLERANCE * np.abs(whole).max():
        raise ValueError(_AT_ONCE)
    return [read.frames[i] for i in read.frame_index], vectors


def _read(clip: Any, n_frames: int, limits: Any) -> Clip:
    """Read the whole frames of a clip."""
    try:
        source = read_source(clip)
    except TypeError as error:
        raise TypeError(f"clip must be one of {WANTED}, got {error}.") from error
    if source is None:
        raise TypeError(f"clip must be one of {WANTED}, got a missing value.")
    (read,) = read_clips([source], n_frames, None, n_threads=1, limits=limits)
    if isinstance(read, MediaError):
        raise read
    return read


def _predict(steps: list[Any], vectors: Any) -> Floats:
    """Pass vectors through the rest of a pipeline, under the names that it knows."""
    for step in steps:
        names = getattr(step, "feature_names_in_", None)
        if names is not None:  # a ColumnTransformer has put a prefix to them
            vectors = pd.DataFrame(np.asarray(vectors), columns=names)
        is_last = step is steps[-1]
        vectors = step.predict_proba(vectors) if is_last else step.transform(vectors)
    return np.asarray(vectors)
