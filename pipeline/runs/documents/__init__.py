"""The JSON files of a run folder, each as the one class that writes and reads it, by the stage that writes it.

* `base.Document`: what they have in common; `base.RunError`: a run folder that cannot be used
* `run.RunFile`: the configuration, and which run this one specialises
* `profile.ResolvedBudget`: the limits in plain numbers
* `train.Schedule`, `train.StartFile`, `train.Losses`; `split.CalibrationFile`
* `search.Candidates`, `search.RelaxedFile`
* `finetune.WinnerFile`, `finetune.TrainedNetwork`, `finetune.Lengths`, `finetune.AnswersFile`
* `export.MeasuredLatency`; `check.CheckFile`
* `report.Summary`, `compress.CompressedFile`
"""
