"""A run in the trackers that people have, from its events.

* `mlflow.to_mlflow`: parameters, metrics and artifacts
* `tensorboard.to_tensorboard`: scalars
* `scalars.scalars`: events as named numbers over steps
"""
