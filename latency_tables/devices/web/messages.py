"""What a page may say, checked: it comes from the network."""

import re
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_tables.devices.web.exchange import Refused
from latency_tables.documents import first_error
from latency_tables.table import BrowserInfo, DeviceInfo, Precision

MAX_BYTES: Final = 16_384

PageName = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
# What a browser says of itself is shown on a terminal, and stands in files: plain printable characters only.
Text = Annotated[str, Field(max_length=400, pattern=r"^[ -~]*$")]
Milliseconds = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]
Message = TypeVar("Message", bound="FromPage")


class FromPage(BaseModel):
    """Anything that a page sends; `page` is the random name that it gave itself."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    page: PageName


class Join(FromPage):
    """A page that is ready to measure, and the browser that it is in."""

    user_agent: Text
    model: Text
    platform: Text
    architecture: Text
    gpu: Text
    cores: Annotated[int, Field(ge=0, le=4096)]
    threads: Annotated[int, Field(ge=1, le=4096)]
    isolated: bool
    clock_ms: Milliseconds

    def device(self, version: str, backend: str, precision: Precision) -> DeviceInfo:
        """The browser as a device: `version` of ONNX Runtime Web, with its `backend`, given models in `precision`."""
        return DeviceInfo(
            name=self.model or self.platform or "browser",
            soc=self.gpu if backend == "webgpu" and self.gpu else "unknown",
            cores=self.cores,
            architecture=self.architecture or "unknown",
            system=self.platform or "unknown",
            runtime="onnxruntime-web",
            runtime_version=version,
            delegate=backend,
            threads=self.threads,
            precision=precision,
            clock="wall",
            browser=BrowserInfo(user_agent=self.user_agent, isolated=self.isolated, clock_ms=self.clock_ms),
        )


class Alive(FromPage):
    """Nothing but that the page is there: it asks for work, or says good-bye."""


class Result(FromPage):
    """The median milliseconds of each fresh session of a model, and how many runs they stand on."""

    task: int
    session_ms: Annotated[list[Milliseconds], Field(min_length=1, max_length=100)]
    runs: Annotated[int, Field(ge=1, le=10**9)]
    disturbed: Annotated[int, Field(ge=0, le=100)]


class Failure(FromPage):
    """A model that the browser cannot run; task 0 is the runtime itself, which does not start."""

    task: Annotated[int, Field(ge=0)]
    reason: Annotated[str, Field(max_length=2000)]

    @property
    def plain_reason(self) -> str:
        """The reason as one line of printable characters."""
        return re.sub(r"[^ -~]+", " ", self.reason).strip()[:300] or "no reason given"


def read(kind: type[Message], body: bytes) -> Message:
    """The message in `body`. Refused (400) where it is none of its `kind`."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise Refused(400, first_error(error, kind)) from None
