"""What a column's name says, read word by word, where no list of names has it.

A name is split into words. Each must be one that counters are made of: what is counted
("views", "Aufrufe"), whose it is ("author"), how ("total", "rate"), since when ("24h").
With any other word the name says something else: "view_angle", "past_plays_mean",
"followers_at_posting". Times of posting and measures of watching are read alike.

Words of several languages are in one table. What they stand for is a column of
`_schema`, whose role is the name's role.
"""

import re
import unicodedata

from skchallenge._schema import REPEATED


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# What is counted, by the column that counts it. Without accents and in lower case;
# words of English in the singular.
_COUNTED = {
    word: canonical
    for canonical, words in {
        "n_plays": "view viewed viewer viewership play watch watched impression reach "
        "click ctr vista visualizacion visualizaciones reproduccion reproducciones vue "
        "aufruf aufrufe wiedergabe wiedergaben visualizacao visualizacoe visualizacoes "
        "visualizzazione visualizzazioni weergave weergaven wyswietlenia wyswietlen "
        "просмотры просмотров izlenme izlenmeler goruntulenme tayangan ditonton",
        "n_likes": "like liked digg heart reaction megusta jaime gefallt curtida "
        "mipiace polubienia polubien лаики лаиков begeni begeniler disukai vindikleuk",
        "n_comments": "comment reply comentario commentaire kommentar kommentare "
        "commento commenti reactie reacties komentarze komentarzy комментарии "
        "комментариев yorum yorumlar komentar",
        "n_shares": "share shared forward forwarded compartido compartida partage "
        "geteilt teilungen compartilhamento condivisione condivisioni udostepnienia "
        "udostepnien gedeeld paylasim paylasimlar dibagikan",
        "n_saves": "save saved bookmark bookmarked collect favorite favourite guardado "
        "enregistrement gespeichert salvamento salvataggio salvataggi kaydetme",
        "n_reposts": "repost reposted retweet репосты репостов",
        "n_downloads": "download downloaded descarga telechargement",
        "n_losses": "lose lost",
        "virality": "engagement interaction viral virality",
        "watching": "watchtime retention completion completed completer finish "
        "finished skip skipped rewatch rewatched dwell retencion retencao retentie "
        "verweildauer",
        "n_followers": "follower fan subscriber seguidor seguidores abonne abonnent "
        "abonnenten seguaci volger obserwujacy подписчики подписчиков takipci "
        "takipciler pengikut",
    }.items()
    for word in words.split()
}
# Written without spaces, so looked for within a word. With what is counted as it
# is counted: "播放" alone is also part of an address.
_WITHIN = {
    part: canonical
    for canonical, parts in {
        "n_plays": "播放量 播放数 播放次 观看量 观看数 观看次 浏览量 浏览数 曝光 "
        "再生数 再生回数 視聴回数 表示回数 조회수 조회 시청수",
        "n_likes": "点赞 获赞 喜欢数 いいね 高評価 좋아요",
        "n_comments": "评论数 评论量 コメント数 댓글수 댓글",
        "n_shares": "分享数 分享量 转发数 转发量 シェア数 공유수 공유",
        "n_saves": "收藏数 收藏量 保存数 저장수",
        "watching": "完播 播放时长 观看时长 留存 視聴時間 再生時間 視聴維持率 시청시간",
        "n_followers": "粉丝 フォロワー 팔로워 구독자",
        "create_time": "发布时间 投稿日 公開日 업로드일",
    }.items()
    for part in parts.split()
}
# Words that leave it that count.
_BESIDE = {
    word
    for words in (
        "",  # what is left of a number
        "n num nb number count counter cnt total sum overall lifetime cumulative final "
        "current organic paid",
        "unique k m v y label target score raw public",
        "video post item media clip reel short tiktok aweme",
        "whatsapp instagram facebook messenger telegram twitter youtube snapchat",
        "info struct stat statistic metric insight",
        "after within time s sec second min minute h hr hour d day w week month",
        "per to over rate ratio and plus percent percentage pct",
        "log log1p log2 log10 ln sqrt norm normalized normalised scaled zscore",
        "rank bin bucket clipped capped",
        "de di du des la le les der die das von da do anzahl numero nombre cantidad "
        "quantidade aantal liczba количество число sayisi sayi jumlah totale gesamt",
        "taxa tasa taux quote tasso hora hore heure stunde dia jour tag giorno",
    )
    for word in words.split(" ")
}
# Measures of watching have these words too: "avg_watch_time", "average_view_duration".
# A mean of nothing but counts is that of other videos: "mean_views".
_OF_WATCHING = _set("avg average mean median duration length full fully through end")
_MEASURED = _set("time duration length percent percentage pct through full fully")
_WHOSE = _set("author creator user channel account profile")
_OF_A_USER = {  # what a count of a user's is
    "n_plays": "n_user_plays",
    "n_likes": "n_total_likes",
    "n_followers": "n_followers",
}
_THINGS = _set("video post item media clip reel aweme")

# Times of posting: what was done, and words that make a time of it.
_POSTED = _set(
    "create created creation post posted posting upload uploaded uploading publish "
    "published publication publishing publicacion publicado publicada publicacao "
    "postagem pubblicazione pubblicato veroffentlicht veroffentlichung hochgeladen "
    "erstellt geplaatst opublikowano"
)
_TIMES = _set(
    "time date datetime timestamp ts at on age since ago old online elapsed epoch "
    "fecha datum data am le"
)
_STAMPS = _set("timestamp datetime epoch unixtime")
_AGES = _set("age since ago old online elapsed")
_UNITS = _set("hour hr h day d week month minute min")
_OF_TIMES = _set(
    "video item media clip reel tiktok aweme utc gmt iso local unix s ms sec second "
    "of de di du la le der des"
)

_CAMEL = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PHRASES = {
    re.compile(pattern): word
    for pattern, word in {
        r"(^|\b(number|count|total|sum|log|percent|percentage)s? )of\b": "total",
        r"\bfirst (\d+ ?)?(hour|day|week|month)s?\b": "total",
        r"\bthrough rate\b": "rate",
        r"\bme gustas?\b": "megusta",
        r"\bj aimes?\b": "jaime",
        r"\bmi piace\b": "mipiace",
        r"\bgefallt mir( angaben)?\b": "gefallt",
        r"\bvind ik leuks?\b": "vindikleuk",
    }.items()
}
_GLUED = re.compile(r"^(total|num|log|avg)|(counts?|total|time|(?<!\d)\d+[a-z]*)$")


def counter_in(column: str) -> str | None:
    """Return the count, or the followers, that a column's name speaks of.

    Singular or plural, in any order, glued or not: "shares_total", "bookmarkCount".
    Several counts are some ratio or sum of them, but "like_share" may be a share. A
    count of a user's is another column: "author_heartcount".
    """
    found = counters_in(column)
    outcomes = [name for name in found if name != "n_followers"]
    return next(iter(outcomes or found), None)


def counters_in(column: str) -> list[str]:
    """Return all counts that a name speaks of, none if it is no count's name."""
    words = _words(column)
    within = [_WITHIN[part] for word in words for part in _WITHIN if part in word]
    if within:
        return list(dict.fromkeys(name for name in within if name != "create_time"))
    counted = {w: _counted(w) for w in words}
    beside = _BESIDE
    said = set(counted.values())
    if "watching" in said or ("n_plays" in said and _MEASURED & set(words)):
        beside = _BESIDE | _OF_WATCHING
    kept = [w for w in words if _singular(w.strip("0123456789")) not in beside]
    found = [counted[w] for w in kept if w not in _WHOSE]
    if any(word in _WHOSE for word in kept):
        return _of_a_user(words, found)
    if not all(found):
        return []
    if len(found) > 1 and kept == words and any(w == _singular(w) for w in words):
        return []
    return list(dict.fromkeys(found))


def is_posting_time(column: str) -> bool:
    """Tell whether a name speaks of when a video was posted, or how long ago."""
    words = [_singular(word.strip("0123456789")) for word in _words(column)]
    if any(_WITHIN[p] == "create_time" for w in words for p in _WITHIN if p in w):
        return True
    said = set(words) - {""}
    allowed = _POSTED | _TIMES | _STAMPS | _OF_TIMES
    if said & _AGES:
        allowed = allowed | _UNITS
    is_time = bool(said & _TIMES or said & _STAMPS)
    return said <= allowed and is_time and bool(said & (_POSTED | _STAMPS))


def _of_a_user(words: list[str], found: list[str]) -> list[str]:
    """Return what a count of a user's is, which sums up all videos: "authorDiggs"."""
    if not found and {"count", "counts", "total"} & set(words) and _THINGS & set(words):
        return ["n_total_videos"]
    if not all(found) or len(found) != 1:
        return []
    return [_OF_A_USER[name] for name in found if name in _OF_A_USER]


def _counted(word: str) -> str:
    return _COUNTED.get(_singular(word), _COUNTED.get(word, ""))


def _words(column: str) -> list[str]:
    """Split a name into lower-case words, without what a word is glued to."""
    name = REPEATED.sub("", str(column).rpartition("__")[2])
    text = re.sub(r"[\W_]+", " ", _CAMEL.sub(" ", _without_accents(name)))
    text = text.casefold().strip()
    for pattern, word in _PHRASES.items():
        text = pattern.sub(word, text)
    words = []
    for word in text.split():
        bare = _GLUED.sub("", word)
        if bare in _THINGS and bare != word:  # "videocount"
            words += [bare, "count"]
        else:
            words.append(bare if _counted(bare) else word)
    return words


def _without_accents(name: str) -> str:
    """Return a name whose letters have no marks; those of Japan and Korea keep them."""
    name = name.replace("\u0131", "i")  # the dotless one of Turkish
    if not any(unicodedata.combining(c) for c in unicodedata.normalize("NFD", name)):
        return name
    apart = unicodedata.normalize("NFD", name)
    plain = "".join(c for c in apart if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFC", plain)


def _singular(word: str) -> str:
    return re.sub(r"s$", "", re.sub(r"ies$", "y", word))
