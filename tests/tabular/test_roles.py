import pandas as pd
import polars as pl
import pytest

from skchallenge._guard import check_nowcast, check_roles
from skchallenge._schema import (
    LAYOUTS,
    LOADED,
    PARTIAL,
    canonical_name,
    sources_of,
)
from skchallenge.exceptions import LeakageError
from skchallenge.tabular import column_roles

# The columns of the report's scraper, in its order.
NAMES = """id secretID text createTime authorMeta.id authorMeta.secUid authorMeta.name
authorMeta.nickName authorMeta.verified authorMeta.signature authorMeta.avatar
authorMeta.following authorMeta.fans authorMeta.heart authorMeta.video authorMeta.digg
musicMeta.musicId musicMeta.musicName musicMeta.musicAuthor musicMeta.musicOriginal
musicMeta.musicAlbum musicMeta.playUrl musicMeta.coverThumb musicMeta.coverMedium
musicMeta.coverLarge musicMeta.duration covers.default covers.origin covers.dynamic
webVideoUrl videoUrl videoUrlNoWaterMark videoApiUrlNoWaterMark videoMeta.height
videoMeta.width videoMeta.duration diggCount shareCount playCount commentCount
downloaded mentions hashtags effectStickers"""
REPORT = NAMES.split()
OUTCOMES = ["n_plays", "n_likes", "n_comments", "n_shares"]


def test_all_columns_of_the_report_have_a_role():
    roles = column_roles(REPORT)
    assert len(REPORT) == 44
    assert list(roles) == REPORT
    assert "unknown" not in roles.values()
    kept = [c for c in roles if roles[c] == "post_outcome"]
    assert kept == ["diggCount", "shareCount", "playCount", "commentCount"]
    assert roles["authorMeta.fans"] == "label_part"
    assert roles["authorMeta.heart"] == roles["authorMeta.digg"] == "scrape_aggregate"
    assert roles["createTime"] == roles["id"] == roles["webVideoUrl"] == "exposure"


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_a_table_has_the_roles_of_its_columns(kind):
    table = kind({"caption": ["a"], "n_plays": [1]})
    assert column_roles(table) == {"caption": "pre_post", "n_plays": "post_outcome"}


def test_one_name_is_no_list_of_names():
    with pytest.raises(TypeError, match=r"columns must hold names.*got the text 'n_l"):
        column_roles("n_likes")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_name_that_the_loader_reads_is_the_column_it_becomes(layout):
    for column in LAYOUTS[layout]:
        for source in sources_of(column, layout):
            field = source.field
            expected = {column}
            if field == "repost_count":  # yt-dlp's word for shares
                expected = {"n_reposts"}
            if field in PARTIAL:  # holds both
                expected = {"hashtags", "mentions"}
            assert canonical_name(field) in expected, field


def test_every_column_of_the_loader_has_a_role():
    roles = column_roles(LOADED)
    assert {c for c in roles if roles[c] == "post_outcome"} == set(OUTCOMES)
    assert {c for c in roles if roles[c] == "exposure"} == {"create_time", "video_id"}
    assert {c for c in roles if roles[c] == "label_part"} == {"n_followers"}
    aggregates = {"n_total_likes", "n_user_likes", "n_total_videos", "n_following"}
    aggregates |= {"verified"}
    assert {c for c in roles if roles[c] == "scrape_aggregate"} == aggregates
    assert "unknown" not in roles.values()


@pytest.mark.parametrize(
    "name",
    [
        *("n_likes", "N_Likes", "diggCount", "digg_count", "DiggCount", "likes"),
        *("stats.diggCount", "stats_diggCount", "itemStruct.stats.diggCount"),
        *("remainder__n_likes", "a__b__diggCount", "log_n_likes", "x__log1p_likes"),
        *("n_likes_log", "likes_count", "likesCount", "video_like_count"),
        *("n_likes_x", "diggCount_y", "x__likes.1", "stats.diggCount.12"),
        *("n_likes_log_x", "n_likes_right"),
    ],
)
def test_spellings_do_not_hide_a_column(name):
    assert canonical_name(name) == "n_likes"
    with pytest.raises(LeakageError):
        check_roles([name])


@pytest.mark.parametrize(
    "name, column",
    [
        *(("views_count", "n_plays"), ("plays_count", "n_plays")),
        *(("comments_count", "n_comments"), ("shares_count", "n_shares")),
        *(("saves_count", "n_saves"), ("followers_count", "n_followers")),
        *(("video_view_count", "n_plays"), ("statistics_play_count", "n_plays")),
        *(("n_plays_x", "n_plays"), ("n_plays_y", "n_plays"), ("n_plays.1", "n_plays")),
        ("favorites_count", "n_saves"),
        *(("create_time_x", "create_time"), ("create_time_utc", "create_time")),
        *(("upload_date", "create_time"), ("uploadDate", "create_time")),
        *(("published_at", "create_time"), ("publish_time", "create_time")),
        ("post_date", "create_time"),
    ],
)
def test_other_names_of_a_column_are_the_column(name, column):
    assert canonical_name(name) == column


@pytest.mark.parametrize(
    "name, role",
    [
        ("n_likes_count", "post_outcome"),
        ("mine__comments_pos", "post_outcome"),
        ("diggCount_length", "post_outcome"),
        ("n_followers_count", "label_part"),
        ("n_total_likes_count", "scrape_aggregate"),
        ("create_time_count", "exposure"),
        ("video_id_length", "exposure"),
        ("video_age_hour_sin", "exposure"),
        ("createTime_weekday_cos", "pre_post"),
        ("text_length", "pre_post"),
        ("caption_compound", "pre_post"),
        ("hashtags_count_x", "pre_post"),
        ("n_likes_count.1", "post_outcome"),
    ],
)
def test_what_is_made_of_a_column_has_its_role(name, role):
    """But for the hour and the weekday, which tell no age."""
    assert column_roles([name]) == {name: role}


def test_what_is_made_of_an_outcome_raises_by_the_outcomes_name():
    match = r"'n_likes_count' \(n_likes\), whose role is 'post_outcome'"
    with pytest.raises(LeakageError, match=match):
        check_roles(["n_likes_count"])
    assert check_roles(["n_likes_count"], ["n_likes"])


@pytest.mark.parametrize(
    "name, role",
    [
        ("authorMeta.digg", "scrape_aggregate"),  # what the user has liked
        ("like_share", "unknown"),
        ("hashtags_likes", "unknown"),
        ("past_plays_mean", "unknown"),
        ("caption_length", "pre_post"),
        ("create_time_hour_sin", "pre_post"),
        ("numbers__hashtags_count", "pre_post"),
        ("my_length", "unknown"),
        ("n_followers_log", "label_part"),
        *(("video_age_hours", "exposure"), ("days_since_posting", "exposure")),
        *(("date", "exposure"), ("date_posted", "exposure"), ("days_old", "exposure")),
        *(("uploadedAt", "exposure"), ("update", "unknown"), ("days", "unknown")),
        *((3, "unknown"), (1.5, "unknown"), ("position_x", "unknown")),
    ],
)
def test_other_names_are_not_taken_for_outcomes(name, role):
    assert column_roles([name]) == {name: role}


# Counters that no list of aliases holds, each in a form of its own.
COUNTERS = """view View total_views totalviews numLikes n_view number_of_views
TOTAL_VIEWS bookmarkCount download_count shares_total shareTotal stats.bookmark_count
sumLikes statsV2.bookmarkCount public_metrics.like_count videoStats.saveCount
remainder__bookmarkCount pipe__view_x
views_24h views_7D views24h likes_after_1h views_first_day first_24_hours_views
day1_views replies replyCount impressions unique_viewers watch_time favouriteCount
likes_per_view like_rate comments_per_1k_views like_to_view_ratio likes_and_comments
likes_shares log1p_total_views sqrt_plays views_rank target_views total_engagement
viral_label repost_total lifetime_video_views reel_plays share
whatsapp_share_count facebookShares lose_count lose_comment_count reach organic_reach
completion_rate avg_watch_time averageViewDuration average_percentage_viewed retention
watchtime_seconds playTime finish_rate skip_rate fully_watched_rate click_through_rate
vistas vues Aufrufe curtidas visualizações reproducciones me_gusta j'aime Gefällt_mir
nombre_de_vues Anzahl_Aufrufe commentaires Kommentare compartilhamentos condivisioni
visualizzazioni weergaven просмотры лайки izlenme_sayısı beğeni_sayısı wyświetlenia
播放量 视频播放次数 点赞数 再生回数 조회수 좋아요 jumlah_tayangan"""
AGGREGATES = """author_total_views channel_view_count author_heartcount authorDiggCount
author_diggcount author_videocount author_post_count user_likes_total"""
POSTING_TIMES = """video_timestamp postTimestamp created_epoch Veröffentlicht_am
fecha_de_publicacion video_post_time_utc hours_since_upload_time 发布时间 timestamp_x"""
HONEST = """viewport likelihood share_of_voice_intro share_of_total followers_at_posting
view_angle camera_view top_view point_of_view playlist play_url autoplay
comments_enabled allowComments commentSetting shareEnabled downloadSetting save_path
is_repost favorite_color replay_cover interview preview overview discount account
playback_speed looks_like_ad unlikely display shareholder commentary watchlist
viral_sound hashtag_views sound_plays my_likes
mean_views past_likes_last x0_like time total score label hours day_of_week post_count
user_id_video0_3 user_id_fill comment_length embedding_7 week_total first_day
author_created_at account_create_time song_release_date posting_hour upload_weekday
hours_since_last_post time_since_previous_video hook_time screen_time post_length
like_new retention_policy click_bait_score user_age creator_age timezone play_speed
full_name data_source date_night post_type de_nombre videoAddress"""


@pytest.mark.parametrize("name", [*COUNTERS.split(), "Views (7 days)", "# of likes"])
def test_counters_are_read_word_by_word(name):
    assert column_roles([name]) == {name: "post_outcome"}
    with pytest.raises(LeakageError, match="counted after the video was posted"):
        check_roles([name])
    assert check_roles([name], [name])


@pytest.mark.parametrize("name", AGGREGATES.split())
def test_a_users_counts_sum_up_later_videos(name):
    assert column_roles([name]) == {name: "scrape_aggregate"}


@pytest.mark.parametrize("name", POSTING_TIMES.split())
def test_times_of_posting_are_read_word_by_word(name):
    assert column_roles([name]) == {name: "exposure"}
    with pytest.raises(LeakageError, match="how long the video has been seen"):
        check_roles([name])


@pytest.mark.parametrize(
    "name",
    [
        "follower",
        "total_followers",
        "creatorFollowerCount",
        "log_author_fans",
        "seguidores",
        "粉丝数",
    ],
)
def test_followers_are_read_word_by_word(name):
    assert column_roles([name]) == {name: "label_part"}


@pytest.mark.parametrize("name", HONEST.split())
def test_words_of_counters_in_other_names_are_no_counters(name):
    assert column_roles([name]) == {name: "unknown"}


@pytest.mark.parametrize("column", [*OUTCOMES, "create_time", "video_id"])
def test_what_is_not_known_in_time_raises(column):
    match = (
        rf"X has the column '{column}' .*(post_outcome|exposure).*nowcast=\('{column}"
    )
    with pytest.raises(LeakageError, match=match):
        check_roles(["n_followers", column, "mine"])
    roles = check_roles(["n_followers", column, "mine"], nowcast=[column])
    assert list(roles) == ["n_followers", column, "mine"]


def test_nowcast_knows_every_name_and_lets_through_no_other():
    assert check_roles(["x__stats.diggCount"], ["n_likes"])
    assert check_roles(["n_likes"], ("diggCount",))
    with pytest.raises(LeakageError, match=r"'n_plays'.*So must \['n_shares'\]"):
        check_roles(["n_likes", "n_plays", "n_shares"], ["n_likes"])


@pytest.mark.parametrize(
    "listed, slips",
    [
        ("n_comments", "comments_per_1k_views"),
        ("n_likes", "likes_per_view"),
        ("n_likes", "likes_and_comments"),
        ("n_plays", "plays_per_follower"),
        ("engagement_rate", "views_per_follower"),
        ("engagement_rate", "is_viral"),
        ("total_engagement", "virality_score"),
    ],
)
def test_nowcast_of_a_count_lets_through_no_ratio_that_tells_another(listed, slips):
    with pytest.raises(LeakageError, match=f"'{slips}' .*nowcast=.'{slips}'"):
        check_roles([listed, slips], [listed])
    assert check_roles([f"x__{slips}", f"{slips}_x"], [slips])


def test_nowcast_lists_columns_of_the_table():
    columns = ["x__stats.diggCount", "mine"]
    assert check_nowcast("n_likes", columns) == ["n_likes"]
    assert check_nowcast(iter(["mine", "likes"]), columns) == ["mine", "likes"]
    assert check_nowcast(["n_plays"], []) == ["n_plays"]  # a table without names
    match = r"columns of X, but \['n_plays', 'n_lkes'\] are none of \['x__stats\.digg"
    with pytest.raises(ValueError, match=match):
        check_nowcast(["n_plays", "n_likes", "n_lkes"], columns)
    with pytest.raises(TypeError, match=r"nowcast must hold names of columns, got \[1"):
        check_nowcast([1], columns)
