"""Stage `data`: read the images once, divide them, and keep them as arrays."""

from pipeline.data.division import divide
from pipeline.data.prepare import prepare
from pipeline.data.sources import fingerprint, open_source
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder
from pipeline.runs.run import Run


def work(run: Run, progress: Progress) -> None:
    """Fill `data/` with the three splits, at the space's largest resolution or somewhat above."""
    data = run.config.data
    progress(0, 1, "listing images")
    source = open_source(data.path, data.group, data.image_column, data.label_column)
    division = divide(source, data.search_fraction, data.test_fraction, run.config.seed, data.limit)
    prepare(division, max(run.unlabelled_space.resolutions), run.folder.data, progress, skip_broken=data.skip_broken)


def outside(run: RunFolder) -> dict[str, str]:
    """A hash of the names and sizes of all pictures, as long as they are there."""
    found = fingerprint(run.config.data.path)
    return {} if found is None else {f"the pictures at {run.config.data.path!r}": found}
