"""scikit-learn: gradient descent as an estimator (extra ``fastgd[sklearn]``)."""

try:
    import sklearn as _sklearn  # noqa: F401 - to say at once what is missing
except ImportError:
    raise ImportError("fastgd.sklearn needs scikit-learn: pip install 'fastgd[sklearn]'") from None

from .estimator import GradientDescentRegressor
from .search import SweepSearchCV

__all__ = ["GradientDescentRegressor", "SweepSearchCV"]


def __dir__() -> list[str]:
    return __all__
