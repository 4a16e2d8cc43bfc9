import pytest
from joblib.externals.loky import get_reusable_executor


@pytest.fixture(autouse=True, scope="module")
def no_workers_of_other_modules():
    """End joblib's processes after each module: they keep its networks in memory."""
    yield
    get_reusable_executor().shutdown(wait=True)
