import matplotlib as mpl
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import DeepChallenger, MultimodalVirality, ProxyEncoder
from skchallenge.metrics import TrainingCurvesDisplay

mpl.use("agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def data():
    X = np.random.default_rng(0).normal(size=(80, 3))
    return X, (X[:, 0] > 0).astype(int)


def networks(**options):
    options = {"max_iter": 4, "random_state": 0, **options}
    return [
        MultimodalVirality(metadata_layers=(8,), **options),
        ProxyEncoder(8, **options),
        DeepChallenger((8,), **options),
    ]


@pytest.mark.parametrize("model", networks(), ids=lambda m: type(m).__name__)
def test_the_curves_are_those_of_the_estimator(model):
    display = TrainingCurvesDisplay.from_estimator(model.fit(*data()))
    drawn = [line.get_ydata().tolist() for line in display.lines_]
    assert drawn == [
        model.loss_curve_,
        model.validation_loss_curve_,
        model.accuracy_curve_,
        model.validation_accuracy_curve_,
    ]
    assert display.lines_[0].get_xdata().tolist() == list(range(1, model.n_iter_ + 1))
    name = type(model).__name__
    labels = [line.get_label() for line in display.lines_]
    assert labels == [f"{name}, training", f"{name}, validation"] * 2


def test_the_best_pass_is_marked():
    display = TrainingCurvesDisplay(
        loss=[3, 2, 1],
        accuracy=[0.5, 0.7, 0.9],
        validation_loss=[3, 2, 2.5],
        validation_accuracy=[0.5, 0.6, 0.6],
    ).plot()
    for axes in display.axes_:
        marks = [m for m in axes.get_lines() if m not in display.lines_]
        assert [m.get_xdata()[0] for m in marks] == [2]
        assert [m.get_label() for m in marks] == ["best epoch: 2"]


def test_without_early_stopping_there_are_two_curves():
    model = networks(early_stopping=False)[0].fit(*data())
    display = TrainingCurvesDisplay.from_estimator(model, name="ours", color="C3")
    labels = [line.get_label() for line in display.lines_]
    assert labels == ["ours, training"] * 2
    assert {line.get_color() for line in display.lines_} == {"C3"}
    assert [len(axes.get_lines()) for axes in display.axes_] == [1, 1]


def test_pipelines_and_searches_are_looked_into():
    piped = make_pipeline(StandardScaler(), networks()[0])
    search = GridSearchCV(piped, {"multimodalvirality__lr": [0.01, 0.1]}, cv=2)
    for model in (piped, search):
        display = TrainingCurvesDisplay.from_estimator(model.fit(*data()))
        last = getattr(model, "best_estimator_", model)[-1]
        assert display.loss == last.loss_curve_


def test_two_axes_of_the_caller_are_used():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1)
    model = networks()[0].fit(*data())
    display = TrainingCurvesDisplay.from_estimator(model, ax=axes)
    assert display.figure_ is figure
    assert list(display.axes_) == list(axes)
    with pytest.raises(ValueError, match=r"ax must be two axes.*got 1\. Make them"):
        display.plot(axes[0])


def test_what_keeps_no_curves_is_refused():
    with pytest.raises(TypeError, match="LogisticRegression keeps no training curves"):
        TrainingCurvesDisplay.from_estimator(LogisticRegression().fit(*data()))
    with pytest.raises(NotFittedError):
        TrainingCurvesDisplay.from_estimator(networks()[0])
