"""The environment a job's process gets: what programs need to find their way, and nothing of the daemon's secrets.

Left out on purpose: everything not listed, hence tokens, keys, passwords, proxies with credentials and the daemon's
``SAGE_<SECTION>__<FIELD>``. ``SAGE_HOME`` is a path, no secret, and lets code in the job read the same configuration
as its daemon.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JOB_FOLDER", "SHIM_FD", "allowed"]

JOB_FOLDER = "SAGE_JOB_FOLDER"
"""Set in every process of a job to the real path of its folder; children that wander off are found by it."""

SHIM_FD = "SAGE_SHIM_FD"
"""The number of the descriptor over which the job process speaks with its shim."""

_NAMES = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "MKL_NUM_THREADS",
        "NVIDIA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHASHSEED",
        "PYTHONHOME",
        "PYTHONMALLOC",
        "PYTHONPATH",
        "PYTHONPYCACHEPREFIX",
        "PYTHONUTF8",
        "PYTHONWARNINGS",
        "REQUESTS_CA_BUNDLE",
        "SAGE_HOME",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TEMP",
        "TMP",
        "TMPDIR",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
    }
)


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of ``environment`` that a shim and its job process may see."""
    return {name: value for name, value in environment.items() if name in _NAMES or name.startswith("LC_")}
