"""Pseudonyms, and catalogs without a user."""

import hashlib
import hmac
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skchallenge import VideoCatalog
from skchallenge.datasets import pseudonymize

SALT = bytes(range(32))
VIDEOS = {
    "video_id": ["v1", "v2", "v3"],
    "user_id": ["ann", "bob", "ann"],
    "challenge": [None, "dance", "dance"],
    "create_time": [1, 2, 3],
    "caption": ["hi @bob, @bob.b and ann@x.org", None, "alone"],
    "mentions": [["bob"], None, []],
}


def of(name, salt=SALT):
    """The definition, written out."""
    return hmac.new(salt, name.encode(), hashlib.sha256).hexdigest()[:32]


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_ids_lists_and_captions_are_hashed_with_the_key(kind):
    table = kind(VIDEOS)
    hidden = pseudonymize(table, salt=SALT)
    assert hidden["user_id"].tolist() == [of("ann"), of("bob"), of("ann")]
    assert hidden["mentions"][0] == [of("bob")]
    assert hidden["mentions"][1] is None
    assert list(hidden["mentions"][2]) == []
    names = of("bob"), of("bob.b"), of("x.org")
    assert hidden["caption"][0] == "hi @{}, @{} and ann@{}".format(*names)
    assert hidden["caption"][2] == "alone"
    assert hidden["video_id"].tolist() == VIDEOS["video_id"]
    assert table["user_id"].to_list() == VIDEOS["user_id"]  # the caller's is left alone
    assert "bob" not in repr(hidden.to_dict())


def test_one_salt_joins_tables_and_another_does_not():
    videos = pd.DataFrame(VIDEOS)
    log = pd.DataFrame({"viewer": ["bob", "eve"], "x": [1, 2]})
    ours = pseudonymize(videos, salt=SALT)
    log = pseudonymize(log, salt=SALT, columns=["viewer"])
    joined = ours.merge(log, left_on="user_id", right_on="viewer")
    assert joined["video_id"].tolist() == ["v2"]
    other = pseudonymize(videos, salt=SALT[::-1])
    assert not set(other["user_id"]) & set(ours["user_id"])
    assert (other["user_id"].factorize()[0] == videos["user_id"].factorize()[0]).all()


def test_numbers_and_their_text_are_one_id_and_missing_ones_stay():
    texts = pseudonymize(pd.DataFrame({"user_id": ["7", None]}), salt=SALT)
    for cells in ([7, None], pd.array([7, None], dtype="Int64"), [7.0, np.nan]):
        found = pseudonymize(pd.DataFrame({"user_id": cells}), salt=SALT)
        assert found["user_id"][0] == texts["user_id"][0] == of("7")
        assert found["user_id"].isna().tolist() == [False, True]
    columns = ["user_id", "video_id"]
    whole = pseudonymize(pd.DataFrame(VIDEOS), salt=SALT, columns=columns)
    assert whole["video_id"][0] == of("v1")


@pytest.mark.parametrize("salt", ["", b"", "pepper", b"x" * 15, "a" * 64, b"ab" * 20])
def test_a_salt_that_is_guessed_is_refused(salt):
    with pytest.raises(ValueError, match="secret of at least 16 bytes.*token_bytes"):
        pseudonymize(pd.DataFrame(VIDEOS), salt=salt)


def test_what_cannot_be_hidden_is_an_error():
    videos = pd.DataFrame(VIDEOS)
    with pytest.raises(TypeError, match="salt must be bytes or text, got int"):
        pseudonymize(videos, salt=12345)
    with pytest.raises(TypeError, match="columns must be a list"):
        pseudonymize(videos, salt=SALT, columns="user_id")
    with pytest.raises(ValueError, match="lacks the columns"):
        pseudonymize(videos.drop(columns="user_id"), salt=SALT)
    with pytest.raises(TypeError, match="user_id must hold strings or integers"):
        pseudonymize(videos.assign(user_id=[b"a", b"b", b"c"]), salt=SALT)


def test_columns_that_name_users_are_told():
    videos = pd.DataFrame({**VIDEOS, "nickname": "Ann", "author_name": "ann"})
    with pytest.warns(UserWarning, match=r"\['author_name', 'nickname'\]"):
        pseudonymize(videos, salt=SALT)


def test_a_catalog_without_a_user_holds_no_byte_of_them():
    catalog = VideoCatalog(pd.DataFrame(VIDEOS), candidates=["ann", "bob", "eve"])
    catalog.has_challenge_sound, catalog.encoder_view([0])  # worked out, and kept
    rest = catalog.without_users(["ann"])
    assert rest.videos["video_id"].tolist() == ["v2"]
    assert rest.candidates == {"bob", "eve"}
    assert rest.memberships["row"].tolist() == [0]
    assert rest.is_challenge_video.tolist() == [True]
    assert len(catalog) == 3  # nothing changes for those that hold it
    data = pickle.dumps(rest)
    assert b"bob" in data
    assert b"ann" not in data
    assert b"alone" not in data
    assert pickle.loads(data) is rest
    expected = VideoCatalog(rest.videos, candidates=["bob", "eve"])
    pd.testing.assert_frame_equal(expected.videos, rest.videos)
    rest.append(pd.DataFrame({**VIDEOS}).iloc[:1].assign(user_id="zoe"))
    assert len(rest) == 2
    assert catalog.without_users(["eve"]).candidates == {"ann", "bob"}
    assert len(catalog.without_users(["ann", "bob"])) == 0


def test_users_that_the_catalog_does_not_know_are_an_error():
    catalog = VideoCatalog(pd.DataFrame(VIDEOS))
    with pytest.raises(ValueError, match=r"users must be known.*\['joe'\]"):
        catalog.without_users(["ann", "joe"])
    with pytest.raises(TypeError, match="users must be a list of ids"):
        catalog.without_users("ann")
    with pytest.raises(TypeError, match="users holds integers"):
        catalog.without_users([7])
