"""From labelled images, a device and a budget to a checked file. What a program or a notebook needs of it:

    from pipeline import LatencyTable, Run, SearchSpace, Supernet, load_space, load_table, search_networks

Each name is loaded when it is first used, so that importing this package takes no time. docs/python.md shows them
at work.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from exporters import Metadata, Samples, export_all
    from latency_tables.devices.runner import Timing
    from latency_tables.measure import MeasureOptions
    from latency_tables.store import load_table, save_table
    from latency_tables.table import DeviceInfo, LatencyTable
    from pipeline.budget import Budget
    from pipeline.classifier import open_classifier
    from pipeline.fewshot.criteria import Evidence, divide
    from pipeline.fewshot.partition import Split
    from pipeline.profiling import ProfileOptions, profile_space
    from pipeline.runs.run import Run
    from pipeline.search.costs import space_costs
    from pipeline.search.evaluators import Scored
    from pipeline.search.results import SearchResult
    from pipeline.search.samplers.base import History, ProposalSampler
    from pipeline.search.settings import SearchSettings
    from pipeline.search.study import search as search_networks
    from pipeline.spaces.architecture import Architecture
    from pipeline.spaces.codes import Codes
    from pipeline.spaces.files import load_space
    from pipeline.spaces.space import SearchSpace
    from pipeline.supernets.data import TrainingData
    from pipeline.supernets.evaluate import evaluate, evaluate_inherited
    from pipeline.supernets.files import load_network
    from pipeline.supernets.network import Network
    from pipeline.supernets.recipes import Pass, Phase
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.supernet import Supernet
    from pipeline.supernets.training import train

_PLACES: Final = {
    "Architecture": "pipeline.spaces.architecture",
    "Budget": "pipeline.budget",
    "Codes": "pipeline.spaces.codes",
    "DeviceInfo": "latency_tables.table",
    "Evidence": "pipeline.fewshot.criteria",
    "History": "pipeline.search.samplers.base",
    "LatencyTable": "latency_tables.table",
    "MeasureOptions": "latency_tables.measure",
    "Metadata": "exporters",
    "Network": "pipeline.supernets.network",
    "Pass": "pipeline.supernets.recipes",
    "Phase": "pipeline.supernets.recipes",
    "ProfileOptions": "pipeline.profiling",
    "ProposalSampler": "pipeline.search.samplers.base",
    "Run": "pipeline.runs.run",
    "Samples": "exporters",
    "Scored": "pipeline.search.evaluators",
    "SearchResult": "pipeline.search.results",
    "SearchSettings": "pipeline.search.settings",
    "SearchSpace": "pipeline.spaces.space",
    "Split": "pipeline.fewshot.partition",
    "Supernet": "pipeline.supernets.supernet",
    "Timing": "latency_tables.devices.runner",
    "TrainSettings": "pipeline.supernets.settings",
    "TrainingData": "pipeline.supernets.data",
    "divide": "pipeline.fewshot.criteria",
    "evaluate": "pipeline.supernets.evaluate",
    "export_all": "exporters",
    "evaluate_inherited": "pipeline.supernets.evaluate",
    "load_network": "pipeline.supernets.files",
    "load_space": "pipeline.spaces.files",
    "load_table": "latency_tables.store",
    "open_classifier": "pipeline.classifier",
    "profile_space": "pipeline.profiling",
    "save_table": "latency_tables.store",
    "search_networks": "pipeline.search.study",
    "space_costs": "pipeline.search.costs",
    "train": "pipeline.supernets.training",
}
_RENAMED: Final = {"search_networks": "search"}  # `pipeline.search` is the package

__all__ = [
    "Architecture",
    "Budget",
    "Codes",
    "DeviceInfo",
    "Evidence",
    "History",
    "LatencyTable",
    "MeasureOptions",
    "Metadata",
    "Network",
    "Pass",
    "Phase",
    "ProfileOptions",
    "ProposalSampler",
    "Run",
    "Samples",
    "Scored",
    "SearchResult",
    "SearchSettings",
    "SearchSpace",
    "Split",
    "Supernet",
    "Timing",
    "TrainSettings",
    "TrainingData",
    "divide",
    "evaluate",
    "evaluate_inherited",
    "export_all",
    "load_network",
    "load_space",
    "load_table",
    "open_classifier",
    "profile_space",
    "save_table",
    "search_networks",
    "space_costs",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), _RENAMED.get(name, name))
