"""`pocketnas check`: is a model file inside its budget, and no worse than before?

* `gate.run_gate`: the answers for all models
* `budget_file.load_budget`: limits, tolerances and levels
* `measure.judge_latency`, `measure.judge_change`: deciding from noisy rounds
* `metrics.METRICS`: what can be limited
"""
