"""What a new run needs beside its images, looked for before anything is written or any picture is read."""

from latency_tables.store import load_table
from pipeline.fewshot.decisions import open_decisions
from pipeline.runs.config import Config
from pipeline.runs.quantised import require_simulation
from pipeline.spaces.files import load_space


def require_sources(config: Config) -> None:
    """Raises the error of the first that cannot be had: space, what to split of it, latency tables, weights."""
    space = load_space(config.space.name)
    open_decisions(space.with_resolutions(config.space.resolutions or space.resolutions), config.split.decisions)
    require_simulation(config)
    for table in (config.device.table, *(other.table for other in config.devices.values())):
        if table is not None:
            load_table(table)
    if config.train.start != "none":
        from pipeline.weights.sources import open_weights

        open_weights(config.train.start)


def require_device(config: Config) -> None:
    """PipelineError where this machine lacks the device that networks are to train on, or its precision."""
    from pipeline.supernets.compute import choose

    choose(config.train.device, config.train.precision)
