"""Networks, and spaces of them.

* `architecture.Architecture`: one network, its spelling and its parsing
* `space.SearchSpace`: all choices; `stage.Stage`: those of one stage
* `files.load_space`: a preset or a TOML file
* `codes.Codes`: networks as rows of an array
* `cost.AdditiveCost`: what a network costs, summed over blocks
* `named.resolve_architecture`: `max`, `random:7`, a spelling, or a document
"""
