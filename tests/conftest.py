import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Keep small nets from fighting over two cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A folder with a one-layer BERT: mechanics only, its weights are random."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_bert")
    characters = list("abcdefghijklmnopqrstuvwxyz0123456789.-#,")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dance", "cat", "funny"]
    pieces = words + characters + ["##" + c for c in characters]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
    return str(folder)
