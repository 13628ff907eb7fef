"""A run: one folder, its documents and its stages.

* `run.Run`: everything in a run, read once
* `whole.run_all`: all stages
* `engine.run_stage`: one stage, brought up to date
* `config_file.read_config`: the configuration of a run
* `folder.RunFolder`: where each file stands
"""
