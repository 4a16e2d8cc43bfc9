"""Pictures of how a network was trained."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

_PANELS = ("loss", "accuracy")


class TrainingCurvesDisplay:
    """Loss and accuracy after each epoch of training.

    Make one with `from_estimator`. The dotted line marks the lowest validation loss.
    Early stopping keeps the weights of that epoch, or of one that is as good to four
    digits.

    The validation curves are no score. They are of rows, not of users: other rows of
    the same users are trained on, and the epoch was chosen by them. Score with folds by
    user.

    Parameters
    ----------
    loss : sequence of float of length n_epochs
        Mean training loss of each epoch.
    accuracy : sequence of float of length n_epochs or None, default=None
        Training accuracy of each epoch, in [0, 1]. It must be given.
    validation_loss : sequence of float of length n_epochs or None, default=None
        Mean loss of the held-out rows after each epoch.
    validation_accuracy : sequence of float of length n_epochs or None, default=None
        Accuracy on the held-out rows after each epoch.
    estimator_name : str or None, default=None
        What the legend calls the model.

    Attributes
    ----------
    axes_ : ndarray of shape (2,) of matplotlib.axes.Axes
        The axes of the loss and of the accuracy.
    figure_ : matplotlib.figure.Figure
        The figure that holds them.
    lines_ : list of matplotlib.lines.Line2D
        The curves: training, then validation if there is one, of each of the axes.

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : How a trained model is wrong.
    sklearn.model_selection.LearningCurveDisplay : Scores by number of rows.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from skchallenge import MultimodalVirality
    >>> from skchallenge.metrics import TrainingCurvesDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> model = MultimodalVirality(metadata_layers=(8,), max_iter=4, random_state=0)
    >>> display = TrainingCurvesDisplay.from_estimator(model.fit(X, X[:, 0] > 0))
    >>> [axes.get_ylabel() for axes in display.axes_]
    ['Loss', 'Accuracy']
    """

    def __init__(
        self,
        loss: Sequence[float],
        accuracy: Sequence[float] | None = None,
        *,
        validation_loss: Sequence[float] | None = None,
        validation_accuracy: Sequence[float] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        if hasattr(loss, "fit") or accuracy is None:
            raise TypeError(
                "loss and accuracy must hold one number an epoch, got "
                f"{type(loss).__name__} and {type(accuracy).__name__}. Draw a fitted "
                "model with TrainingCurvesDisplay.from_estimator(model)."
            )
        lengths = [
            len(curve)
            for curve in (loss, accuracy, validation_loss, validation_accuracy)
            if curve is not None
        ]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"All curves must have one number an epoch, got lengths {lengths}. "
                "Pass curves of one training."
            )
        self.loss = loss
        self.accuracy = accuracy
        self.validation_loss = validation_loss
        self.validation_accuracy = validation_accuracy
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Draw the curves that a fitted estimator has kept.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier with a network of this package, a fitted pipeline that
            ends in one, or a fitted search for the best of them.
        ax : sequence of two matplotlib.axes.Axes or None, default=None
            Where to draw; None makes a figure.
        name : str or None, default=None
            What the legend calls the model; None is the name of its class.
        **kwargs : dict
            Given to `matplotlib.axes.Axes.plot`, for every curve.

        Returns
        -------
        display : TrainingCurvesDisplay
            The drawn display.

        Raises
        ------
        TypeError
            If the estimator keeps no training curves.
        """
        check_is_fitted(estimator)
        model = getattr(estimator, "best_estimator_", estimator)
        model = model[-1] if hasattr(model, "steps") else model
        if not hasattr(model, "accuracy_curve_"):
            raise TypeError(
                f"estimator must be a network of skchallenge, or a pipeline or search "
                f"that ends in one; {type(model).__name__} keeps no training curves."
            )
        display = cls(
            loss=model.loss_curve_,
            accuracy=model.accuracy_curve_,
            validation_loss=model.validation_loss_curve_,
            validation_accuracy=model.validation_accuracy_curve_,
            estimator_name=type(model).__name__ if name is None else name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : sequence of two matplotlib.axes.Axes or None, default=None
            Where to draw the loss and the accuracy; None makes a figure.
        **kwargs : dict
            Given to `matplotlib.axes.Axes.plot`, for every curve.

        Returns
        -------
        display : TrainingCurvesDisplay
            This object.

        Raises
        ------
        ValueError
            If `ax` is not two axes.
        """
        self.axes_ = _two_axes(ax)
        self.figure_ = self.axes_[0].figure
        self.lines_ = []
        epochs = np.arange(1, len(self.loss) + 1)
        for axes, panel in zip(self.axes_, _PANELS, strict=True):
            for prefix, side in (("", "training"), ("validation_", "validation")):
                values = getattr(self, prefix + panel)
                if values is not None:
                    label = ", ".join(filter(None, (self.estimator_name, side)))
                    options = {"label": label, **kwargs}
                    self.lines_ += axes.plot(epochs, values, **options)
            if self.validation_loss is not None:
                best = 1 + int(np.argmin(self.validation_loss))
                label = f"best epoch: {best}"
                axes.axvline(best, color="0.5", linestyle=":", label=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set(xlabel="Epoch", ylabel=panel.capitalize())
            for text in axes.legend().get_texts():
                text.set_parse_math(False)  # a name is no formula
        return self


def _two_axes(ax: Any) -> Any:
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(axes) != 2:
        raise ValueError(
            f"ax must be two axes, for the loss and the accuracy, got {len(axes)}. "
            "Make them with matplotlib.pyplot.subplots(1, 2)."
        )
    return axes
