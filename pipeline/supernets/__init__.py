"""Networks and weight-shared supernets, their training and their evaluation.

* `supernet.Supernet`: shared weights of all networks of a space; `supernet.inherit`: a part of it
* `network.Network`: one network with weights of its own
* `training.train`: both of them
* `evaluate.evaluate_inherited`, `evaluate.evaluate`: accuracy with inherited and with own weights
* `recipes.RECIPES`: what supernets train on
* `compute.choose`: where networks live
"""
