"""Train an encoder to tell whose video it sees: on all rows, or fold by fold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from skchallenge._rules import Protocol
from skchallenge._time_index import Rows
from skchallenge.exceptions import MediaError

Encode = Callable[[pd.DataFrame], NDArray[np.float32]]


def fit_encoder(encoder: Any, protocol: Protocol, X: pd.DataFrame) -> tuple[Any, Rows]:
    """Fit a clone of the encoder; also return the catalog rows it was given."""
    lines, catalog = protocol.fit_lines(X), protocol.catalog
    row = lines["row"].to_numpy()
    labels = lines["entity"].infer_objects().to_numpy()
    try:
        return clone(encoder).fit(catalog.encoder_view(row), labels), row
    except MediaError:  # of one file: the labels are not at fault
        raise
    except (KeyError, ValueError) as error:
        if isinstance(error, KeyError) or len(np.unique(labels)) > 1:
            error.add_note(
                f"This is the encoder by {protocol.by!r}, which was given {len(row)} "
                f"videos to fit. No encoder sees {catalog.hidden_columns}: who made "
                "the video, and what is known as of the scrape only."
            )
            raise
        raise ValueError(
            f"The proxy task by {protocol.by!r} needs videos of at least two to tell "
            f"apart, but X entitles it to those of {labels[0]!r} only. Add another "
            f"to X, or take an encoder that needs no label. It said: {error}"
        ) from error


def embed_videos(encoder: Any, videos: pd.DataFrame) -> NDArray[np.float32]:
    """Return the dense float32 embeddings of catalog rows."""
    vectors = encoder.transform(videos)
    if hasattr(vectors, "toarray"):
        vectors = vectors.toarray()
    return np.asarray(vectors, dtype=np.float32)


@dataclass(frozen=True)
class CrossFit:
    """Encoders that were not trained on the entities that they encode.

    `final` is the one that was fitted on all rows.
    """

    encoder: Any
    final: Any
    protocol: Protocol
    n_folds: int
    random_state: int | np.random.RandomState | None

    def folds(self, X: pd.DataFrame) -> Iterator[tuple[Rows, Encode]]:
        """Yield the rows of each fold, and what encodes them."""
        for number, (rest, held_out) in enumerate(self._splits(X), start=1):
            others = X.iloc[rest].reset_index(drop=True)
            try:
                encode = self._mapped_encoder(others)
            except MediaError:  # nor are the folds
                raise
            except ValueError as error:
                raise ValueError(
                    f"cross_fit={self.n_folds}: no encoder can be fitted on what is "
                    f"outside of fold {number} of {self.n_folds}, though one can on "
                    f"all of X. {self._remedy()} It said: {error}"
                ) from error
            yield held_out, encode

    def _splits(self, X: pd.DataFrame) -> list[tuple[Rows, Rows]]:
        """Split X by entities; raise if a fold leaves nothing to train on."""
        entities = X[self.protocol.by]
        n_entities, n_folds = entities.nunique(), self.n_folds
        if n_entities < n_folds:
            raise ValueError(
                f"cross_fit={n_folds} makes more folds than X has of "
                f"{self.protocol.by!r}, which is {n_entities}. {self._remedy()}"
            )
        folds = GroupKFold(n_folds, shuffle=True, random_state=self.random_state)
        splits = list(folds.split(X, groups=entities))
        for number, (rest, _) in enumerate(splits, start=1):
            if not self.protocol.may_train(X.iloc[rest].reset_index(drop=True)):
                raise ValueError(
                    f"cross_fit={n_folds}: outside of fold {number} of {n_folds} X has "
                    "no video in the catalog that may train the fold's encoder. "
                    f"{self._remedy()}"
                )
        return splits

    def _remedy(self) -> str:
        return (
            f"Give X more of {self.protocol.by!r} that have videos, take fewer folds, "
            "or set cross_fit=None."
        )

    def _mapped_encoder(self, X: pd.DataFrame) -> Encode:
        """Fit an encoder on some rows and map it onto the space of the final one.

        Networks trained apart have different latent spaces.
        """
        encoder, rows = fit_encoder(self.encoder, self.protocol, X)
        videos = self.protocol.catalog.encoder_view(np.unique(rows))
        source, target = embed_videos(encoder, videos), embed_videos(self.final, videos)
        bridge = Ridge(alpha=1e-3 * len(videos)).fit(source, target)

        def encode(table: pd.DataFrame) -> NDArray[np.float32]:
            mapped = bridge.predict(embed_videos(encoder, table))
            return mapped.reshape(len(table), -1)  # Ridge flattens a width of 1

        return encode
