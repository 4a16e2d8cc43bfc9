import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Keep small nets from fighting over two cores."""
    torch.set_num_threads(1)
