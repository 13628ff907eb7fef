"""Stage `data`: divide the images, and keep them as arrays where those are not too large."""

from pipeline.data.division import divide
from pipeline.data.items import Source
from pipeline.data.large import decoded_gb, prepare_encoded
from pipeline.data.prepare import prepare, stored_px
from pipeline.data.sources import fingerprint, open_source
from pipeline.progress import Progress
from pipeline.runs.config import DataConfig
from pipeline.runs.folder import RunFolder
from pipeline.runs.run import Run


def work(run: Run, progress: Progress) -> None:
    """Fill `data/` with the three splits, at the space's largest resolution or somewhat above."""
    data = run.config.data
    progress(0, 1, "listing images")
    source = require_images(data)
    progress(1, 1, "listing images")
    division = divide(source, data.search_fraction, data.test_fraction, run.config.seed, data.limit)
    seen_px = max(run.unlabelled_space.resolutions)
    size = stored_px(division, seen_px)
    fits = decoded_gb(division, size) <= data.decoded_gb
    keep = prepare if fits else prepare_encoded
    keep(division, size, run.folder.data, progress, seen_px=seen_px, skip_broken=data.skip_broken)


def require_images(data: DataConfig) -> Source:
    """The images that a run's configuration names, listed and not read; DataError where they cannot be used."""
    return open_source(data.path, data.group, data.image_column, data.label_column)


def outside(run: RunFolder) -> dict[str, str]:
    """A hash of the names and sizes of all pictures, as long as they are there."""
    found = fingerprint(run.config.data.path)
    return {} if found is None else {f"the pictures at {run.config.data.path!r}": found}
