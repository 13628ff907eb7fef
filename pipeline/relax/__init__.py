"""Methods that relax the choices of a supernet to weights between 0 and 1.

* `training.relax`: train gates under limits
* `read_off.feasible_networks`: the networks that they stand for
* `compress.compressed`: channels taken out of one network
"""
