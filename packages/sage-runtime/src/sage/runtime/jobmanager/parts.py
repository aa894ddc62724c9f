"""What resources work with, made once at start and handed to every group of routes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from sage.core.models import API_VERSION, DaemonInfo
from sage.runtime.jobmanager.events import Hub
from sage.runtime.jobmanager.home import Home
from sage.runtime.jobmanager.limits import Limits
from sage.runtime.jobmanager.meters import Meters
from sage.runtime.jobmanager.offload import Offload
from sage.runtime.jobmanager.records import Records
from sage.runtime.jobmanager.removal import Removal
from sage.runtime.jobmanager.store import Store
from sage.runtime.jobmanager.submissions import Submissions
from sage.runtime.jobmanager.supervisor import Supervisor
from sage.runtime.jobmanager.watch import FolderWatch

__all__ = ["API_PREFIX", "JsonResponse", "Parts"]

API_PREFIX = f"/api/v{API_VERSION}"


@dataclass(frozen=True)
class Parts:
    """The daemon's parts."""

    home: Home
    limits: Limits
    info: DaemonInfo
    store: Store
    records: Records
    hub: Hub
    watch: FolderWatch
    offload: Offload
    supervisor: Supervisor
    submissions: Submissions
    removal: Removal
    meters: Meters


class JsonResponse(Response):
    """JSON in ASCII: whatever strings jobs produced, lone surrogates included, can be sent."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")
