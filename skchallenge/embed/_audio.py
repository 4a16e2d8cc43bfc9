"""A column of media files -> one vector of the sound of each file."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted
from torch import nn

from skchallenge._state import Versioned
from skchallenge._table import Cells, check_count, check_option, check_real, printable
from skchallenge._torch import resolve_device
from skchallenge.embed._cached import (
    Embedded,
    cached_embed,
    check_n_jobs,
    vector_from_bytes,
    vector_to_bytes,
)
from skchallenge.embed._files import (
    FILLERS,
    OUTPUTS,
    distinct,
    file_contents,
    fill_rows,
    read_files,
)
from skchallenge.embed._hearing import (
    LEAST_S,
    USUAL_WINDOW_S,
    CalledNetwork,
    LogMel,
    PretrainedNetwork,
    SoundModel,
    cut,
    pretrained_format,
)
from skchallenge.embed._keys import (
    fingerprint_of,
    pretrained_fingerprint,
    pretrained_stats,
)
from skchallenge.embed._logmel import LOGMEL_NAMES, RATE
from skchallenge.embed._networks import (
    check_width,
    get_network,
    resolve_precision,
    token_of,
)
from skchallenge.embed._store import Session, StoreLike, check_store
from skchallenge.exceptions import MediaError
from skchallenge.media._file import absolute
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._read import FILES_IN_MEMORY, Sound, read_sounds
from skchallenge.media._source import Source

Matrix = NDArray[np.float32]

_RULES = 1  # raise it when files become other vectors by the same parameters
_LOGMEL = "logmel"
_RATES = 4_000, 192_000  # Hz, of a user's own network
_WINDOWS_A_BATCH = {"cuda": 32}  # "auto"; elsewhere 8


class AudioEmbedder(Versioned, TransformerMixin, BaseEstimator):
    """Embed the sound of videos, or of files of sound.

    The sound of a file is decoded, mixed to one channel and resampled to the rate of
    the model. It is cut into windows of one length, as few as the model hears at once,
    and the vectors of the windows are averaged. The last feature, ``has_sound``, is 1;
    a file without sound is a row of zeros, in which it is 0.

    Parameters
    ----------
    model : str, path-like or callable, default="logmel"
        ``"logmel"`` needs no weights: 195 numbers that describe the whole sound, see
        Notes. Or a local folder in the layout of Hugging Face transformers, or the name
        of a model on the Hugging Face Hub, taken from its cache or else downloaded: an
        audio spectrogram transformer, CLAP, wav2vec 2 and its kin, or Whisper, of which
        the encoder is used; each with its own feature extractor. Or a function without
        arguments that returns a `torch.nn.Module` mapping samples of shape (B, n),
        float32 in [-1, 1], to features of shape (B, d). It must be importable (no
        lambda) if the estimator is to be pickled.
    sample_rate : int or "auto", default="auto"
        Samples a second that the module of a function is given; ``"auto"`` is 16,000.
        All other models have their own.
    window_s : float or "auto", default="auto"
        Most seconds that a network hears at once. ``"auto"`` is what the model was
        made for (Whisper 30, CLAP 10, AST 10.24), else 10. ``"logmel"`` hears all at
        once.
    max_s : float, default=60.0
        Seconds of sound after which a file is not read any further. What is in memory
        grows with it: 8 files of so many seconds, or less where they take more than
        256 MB.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type in which a model of transformers runs. ``"auto"`` takes bfloat16 where the
        hardware multiplies it natively and the model is given a spectrogram, float32
        elsewhere. ``"logmel"`` and the module of a function compute in float32. The
        output is float32 in any case.
    batch_size : int or "auto", default="auto"
        Windows a forward pass. ``"auto"`` is 8 on a CPU, 32 on a GPU.
    device : str or torch.device, default="auto"
        Where the network runs; ``"auto"`` takes CUDA where there is one.
    n_jobs : int or None, default=None
        Processes that embed side by side, through joblib, as of `VideoFrameEmbedder`.
    store : None, path or EmbeddingStore, default=None
        Where vectors are kept, so that none is computed twice; a path is that of an
        `EmbeddingStore`. It may be the one of other embedders.
    limits : MediaLimits or None, default=None
        What a file may cost in memory and time; None is ``MediaLimits()``. A file may
        last longer than ``limits.max_duration_s`` if `max_s` is within it.
    no_sound : {"zero", "error"}, default="zero"
        What becomes of a file without sound, or whose track of sound is empty: a row of
        zeros, or a bad file, of which `on_error` says what becomes.
    on_error : {"raise", "nan", "zero"}, default="raise"
        What becomes of a file that is missing or unreadable, or none of whose sound
        decodes: an error that names it, or a row of NaN or of zeros. Then one
        `MediaWarning` tells what happened, and a missing value (None, NaN, an empty
        list) counts as such a file.
    output : {"array", "memmap"}, default="array"
        Where the matrix lies, as of `VideoFrameEmbedder`.
    verbose : int, default=0
        Show a progress bar over files if not 0.

    Attributes
    ----------
    width_ : int
        Features of the model, without ``has_sound``.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if all of them were strings.

    Raises
    ------
    MediaError
        By `transform` with ``on_error="raise"``, if a file is missing or unreadable, or
        its sound is damaged. The message names the row, the file and the cause.
    TypeError
        If `X` holds what is no file, or `model` is a module instance.
    ValueError
        If a parameter has a wrong value, or `model` is no model of sound.

    See Also
    --------
    VideoFrameEmbedder : The same for pictures.
    CaptionEmbedder : The same for text.
    EmbeddingStore : Keeps the vectors.
    MediaLimits : What a file may cost.

    Notes
    -----
    ``"logmel"`` takes 25 ms of 16 kHz sound every 10 ms and the power in 64 mel bands
    from 125 to 7,500 Hz, as the front end of [1]_. Decibels count from 100 below full
    scale, so that digital silence is 0, as is a file without sound. Its features are

    - ``mel0_mean`` to ``mel63_mean``, ``mel0_std`` to ``mel63_std``: mean and standard
      deviation of each band over time, in dB;
    - ``mel0_slope`` to ``mel63_slope``: by how many dB the line that fits a band best
      rises from the beginning to the end;
    - ``loudness``: the mean power of the sound, in dB;
    - ``onset_rate``: sounds that begin, a second: peaks, of at least 4 dB, of the rise
      from frame to frame, averaged over the bands;
    - ``silence_share``: fraction of the frames below 60 dB under full scale.

    The vector of a model of transformers is that which the model itself gives
    (``pooler_output``; of CLAP, the one in the space of its texts), or else the mean of
    its last hidden states, of Whisper over the states of what is sound, not of the
    padding to half a minute.

    Samples have 16 bits, as in most files. Sound that is shorter than a tenth of a
    second is padded with silence. The sound of a list of files stands in a row, and
    pictures have none, so that photo posts may stand beside videos.

    `fit` learns the output width and opens no file and no weights, unless `model` is a
    function. Neither `clone` nor pickle copies the network. Rows do not depend on other
    rows, `batch_size`, `n_jobs` or the number of threads, but for rounding, as those of
    `VideoFrameEmbedder`. With a store, a second `transform` gives the bits of the first
    and decodes nothing.

    References
    ----------
    .. [1] S. Hershey et al., "CNN architectures for large-scale audio classification",
       ICASSP 2017, https://arxiv.org/abs/1609.09430.

    Examples
    --------
    >>> import tempfile, wave
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skchallenge.embed import AudioEmbedder
    >>> clicks = np.zeros(32_000, dtype=np.int16)  # two seconds at 16 kHz
    >>> clicks[2_000::4_000] = 20_000
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sound, picture = Path(folder) / "clicks.wav", Path(folder) / "cover.png"
    ...     with wave.open(str(sound), "wb") as file:
    ...         file.setparams((1, 2, 16_000, 0, "NONE", ""))
    ...         file.writeframes(clicks.tobytes())
    ...     Image.new("RGB", (64, 48)).save(picture)
    ...     embedder = AudioEmbedder().set_output(transform="pandas")
    ...     table = embedder.fit_transform([sound, picture])
    >>> table[["x0_onset_rate", "x0_has_sound"]].round(1)
       x0_onset_rate  x0_has_sound
    0            4.0           1.0
    1            0.0           0.0
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Callable[[], nn.Module] = "logmel",
        *,
        sample_rate: int | Literal["auto"] = "auto",
        window_s: float | Literal["auto"] = "auto",
        max_s: float = 60.0,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        store: StoreLike = None,
        limits: MediaLimits | None = None,
        no_sound: Literal["zero", "error"] = "zero",
        on_error: Literal["raise", "nan", "zero"] = "raise",
        output: Literal["array", "memmap"] = "array",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.sample_rate = sample_rate
        self.window_s = window_s
        self.max_s = max_s
        self.precision = precision
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.store = store
        self.limits = limits
        self.no_sound = no_sound
        self.on_error = on_error
        self.output = output
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the width of the output; no file is opened.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Paths (strings or `os.PathLike`) of videos or files of sound, or bytes that
            such files hold. Whatever else `VideoFrameEmbedder` takes, pixels or
            pictures, is silent; a list of some of these is their sound in a row. A
            pandas or polars table is embedded column by column.
        y : None
            Ignored.

        Returns
        -------
        self : AudioEmbedder
            The fitted embedder.
        """
        self._check_parameters()
        self._sources(X, reset=True)
        self.width_ = self._width()
        self._fitted_as = self._shaping()
        return self

    def transform(self, X: Any) -> Matrix:
        """Embed the sound of the files.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Files, as in `fit`.

        Returns
        -------
        embeddings : ndarray of shape (n, n_columns * (`width_` + 1)), dtype float32
            The columns' blocks stand side by side; ``has_sound`` ends each of them.

        Raises
        ------
        MediaError
            With ``on_error="raise"``, if there is a bad file.
        ValueError
            If what was set after `fit` makes `model` one of another width.

        Warns
        -----
        MediaWarning
            With another `on_error`, if there is such a file.
        """
        check_is_fitted(self)
        if self._shaping() != self._fitted_as:  # parameters were set after `fit`
            self._check_parameters()
            check_width(self._width(), self.width_, f"model={self.model!r}")
        table = self._sources(X, reset=False)
        embedded = self._embedded(distinct(table))
        model = getattr(self.model, "__name__", self.model)
        return fill_rows(self, table, embedded, self.width_ + 1, model=model)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features: ``{column}_{feature}``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of `X`, which must be those seen during `fit`.

        Returns
        -------
        names : ndarray of str objects
            The features of ``"logmel"`` have the names in the Notes, those of other
            models are ``audio0``, ``audio1`` and so on; the last is ``has_sound``.
        """
        check_is_fitted(self, "width_")
        columns = _check_feature_names_in(self, input_features)
        own = (
            LOGMEL_NAMES
            if self._is_logmel()
            else [f"audio{i}" for i in range(self.width_)]
        )
        names = [f"{c}_{name}" for c in columns for name in (*own, "has_sound")]
        return np.array(names, dtype=object)

    def _check_parameters(self) -> None:
        self._check_model()
        check_real("max_s", self.max_s, min_val=LEAST_S)
        check_option("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_count("batch_size", self.batch_size, auto=True)
        check_option("no_sound", self.no_sound, ("zero", "error"))
        check_option("on_error", self.on_error, FILLERS)
        check_option("output", self.output, OUTPUTS)
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_store(self.store)
        check_limits(self.limits)

    def _shaping(self) -> tuple[object, ...]:
        return self.model, self.sample_rate, self.window_s, self.max_s

    def _sources(self, X: Any, *, reset: bool) -> Cells:
        return read_files(self, X, reset=reset, without="a file")

    def _embedded(
        self, sources: list[Source]
    ) -> Generator[tuple[Source, Any], None, None]:
        """Yield each source with its vector, or its error.

        Whether silence is an error is asked here, not where vectors are computed: a
        store is for both.
        """
        with closing(cached_embed(self, sources, self.store)) as embedded:
            for source, result in embedded:
                is_bad = isinstance(result, MediaError)
                if self.no_sound == "error" and not is_bad and not result[-1]:
                    result = MediaError(
                        f"{printable(source)}: has no sound, see no_sound."
                    )
                yield source, result

    # From here on: the model, and what `cached_embed` asks for.

    def _is_logmel(self) -> bool:
        return isinstance(self.model, str) and self.model == _LOGMEL

    def _is_function(self) -> bool:
        return not isinstance(self.model, str | os.PathLike)

    def _check_model(self) -> None:
        """Raise unless `model` is of a kind that can be built, with what it takes."""
        if isinstance(self.model, nn.Module):  # first: a module is callable
            raise TypeError(
                f"model must be a name, a folder or a function that returns an "
                f"nn.Module, got an instance of {type(self.model).__name__}. Pass a "
                "function that returns it, so that clone and pickle copy no weights."
            )
        if self._is_function() and not callable(self.model):
            raise TypeError(
                "model must be 'logmel', the name or folder of a Hugging Face model, "
                f"or a function that returns an nn.Module, got {self.model!r}."
            )
        check_count("sample_rate", self.sample_rate, auto=True)
        if not isinstance(self.window_s, str):
            check_real("window_s", self.window_s, min_val=LEAST_S)
        elif self.window_s != "auto":
            raise ValueError(
                f"window_s must be 'auto' or a number, got {self.window_s!r}."
            )
        if not isinstance(self.sample_rate, str):
            if not self._is_function():
                raise ValueError(
                    f"sample_rate must be 'auto' for model={self.model!r}, which has "
                    f"its own, got {self.sample_rate!r}."
                )
            low, high = _RATES
            if not low <= self.sample_rate <= high:
                raise ValueError(
                    f"sample_rate must be from {low:,} to {high:,} samples a second, "
                    f"got {self.sample_rate!r}."
                )
        if self._is_logmel() and self.window_s != "auto":
            raise ValueError(
                "window_s must be 'auto' for model='logmel', which hears all of the "
                f"sound at once, got {self.window_s!r}."
            )
        own_type = self._is_logmel() or self._is_function()
        if own_type and self.precision == "bfloat16":
            raise ValueError(
                "precision must be 'auto' or 'float32' for 'logmel' and for functions, "
                "got 'bfloat16'. Let the function return a module that casts."
            )

    def _width(self) -> int:
        """Return the number of features of the model; no weights are loaded."""
        if self._is_logmel():
            return len(LOGMEL_NAMES)
        if self._is_function():
            return self._model().format.width
        model: Any = self.model
        format, _ = pretrained_format(model)
        longest_s = format.longest_s
        if longest_s and self.window_s != "auto" and self.window_s > longest_s:
            raise ValueError(
                f"window_s must be at most {longest_s:g}, what model={self.model!r} "
                f"hears at once, got {self.window_s!r}."
            )
        return format.width

    def _rate(self) -> int:
        """Return the rate that a function's module is given."""
        return RATE if isinstance(self.sample_rate, str) else int(self.sample_rate)

    def _window_s(self, longest_s: float | None) -> float:
        if isinstance(self.window_s, str):
            return longest_s or USUAL_WINDOW_S
        return float(self.window_s)

    def _dtype(self) -> torch.dtype:
        """Return the type of a model of transformers.

        What hears samples would hear 8 bits of them in bfloat16: with random weights,
        the cosine of wav2vec 2's vectors to those in float32 fell to 0.88, that of
        models of spectrograms to 0.9998.
        """
        model: Any = self.model
        if self.precision == "auto" and pretrained_format(model)[0].is_raw:
            return torch.float32
        return resolve_precision(self.precision, resolve_device(self.device))

    def _model(self) -> SoundModel:
        """Return the model; the clones of this estimator have the same one."""
        if self._is_logmel():
            return LogMel()
        device = resolve_device(self.device)
        if callable(self.model):
            function, rate, window_s = self.model, self._rate(), self._window_s(None)
            token = getattr(self, "_token", None) or token_of(function)
            return get_network(
                (token, rate, window_s, device),
                lambda: CalledNetwork(function, rate, window_s, device),
            )
        model, dtype = os.fspath(self.model), self._dtype()
        if os.path.isdir(model):
            model = absolute(model)
        # A file changed in place makes another model.
        stats = pretrained_stats(model)
        return get_network(
            ("sound", model, stats, dtype, device),
            lambda: PretrainedNetwork(model, dtype, device),
        )

    def _fingerprint(self, session: Session | None) -> bytes:
        """Return the digest of what shapes a vector beside the file."""
        settings: tuple[object, ...] = (float(self.max_s),)
        if self._is_logmel():
            return fingerprint_of("sound", _RULES, _LOGMEL, *settings)
        settings += (self._window_s(None) if self.window_s != "auto" else "auto",)
        if callable(self.model):
            digest = self._model().digest
            return fingerprint_of("sound", _RULES, digest, self._rate(), *settings)
        import transformers

        model: object = pretrained_fingerprint(session, self.model)
        if model is None:  # not downloaded yet
            network = self._model()
            model = pretrained_fingerprint(session, self.model) or network.digest
        # What a feature extractor does is not told by its files alone.
        major = transformers.__version__.partition(".")[0]
        return fingerprint_of(
            "sound", _RULES, model, str(self._dtype()), major, *settings
        )

    def _contents(
        self, session: Session, names: Sequence[Source]
    ) -> Iterator[tuple[Source, bytes | MediaError | None]]:
        return file_contents(session, names, self.limits)

    _chunk_size, _commit_size = 32, 8
    _to_bytes = staticmethod(vector_to_bytes)
    _from_bytes = staticmethod(vector_from_bytes)

    def _for_workers(self) -> Self:
        """Return a clone that means the same in another process and folder."""
        sent = clone(self).set_params(store=None, verbose=0, n_jobs=1)
        if callable(self.model):
            sent._token = token_of(self.model)
        elif not self._is_logmel():
            sent.precision = str(self._dtype()).removeprefix("torch.")  # shapes vectors
            if os.path.isdir(self.model):
                sent.model = absolute(os.fspath(self.model))
        return sent

    def _embed(
        self, names: Sequence[Source], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        """Decode, cut into windows, run the model on some files at a time, average."""
        model = self._model()
        rate, longest_s, width = model.format[:3]
        window_s = self._window_s(longest_s) if model.is_windowed else None
        batch_size = self.batch_size
        if isinstance(batch_size, str):
            device = resolve_device(self.device)
            batch_size = _WINDOWS_A_BATCH.get(device.type, 8)
        if not model.is_windowed:  # one file at a time: it may be long
            batch_size = 1
        sounds = read_sounds(
            names,
            rate,
            self.max_s,
            n_threads=torch.get_num_threads(),
            limits=self.limits,
            hashed=hashed,
        )
        waiting: deque[tuple[Source, Sound | MediaError, int]] = deque()
        windows: list[NDArray[np.int16]] = []  # of those that wait

        def embed_those() -> Iterator[Embedded]:
            vectors = model.embed(windows, batch_size) if windows else np.empty((0, 0))
            start = 0
            for name, sound, n_windows in waiting:
                if isinstance(sound, MediaError):
                    yield Embedded(name, sound, None)
                    continue
                vector = np.zeros(width + 1, np.float32)
                if n_windows:
                    vector[:width] = vectors[start : start + n_windows].mean(axis=0)
                    vector[width] = 1  # has_sound
                start += n_windows
                yield Embedded(name, vector, sound.digest)
            waiting.clear()
            windows.clear()

        with closing(sounds):
            for name, sound in zip(names, sounds, strict=True):
                own = []
                if isinstance(sound, Sound) and sound.samples is not None:
                    own = cut(sound.samples, rate, window_s)
                waiting.append((name, sound, len(own)))
                windows += own
                if len(windows) >= batch_size or len(waiting) >= FILES_IN_MEMORY:
                    yield from embed_those()
            yield from embed_those()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # a 2-D array of numbers is refused
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags
