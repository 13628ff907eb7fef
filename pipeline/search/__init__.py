"""The search: feasible proposals, each judged once, in a study that continues.

* `study.search`: one process; `workers.search_with_workers`: several
* `samplers.SAMPLERS`: the methods
* `costs.space_costs`: costs and limits of a space
* `pool.FeasibleSpace`: the networks inside the limits
* `evaluators.Evaluator`: what judges; `evaluators.Scored`: one made of a function
* `compare.compare`: methods side by side
"""
