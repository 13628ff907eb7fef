"""Published weights: files, their namings, and supernets that start from them.

* `catalogue.CATALOGUE`: what is known by name
* `sources.open_weights`: weights by name, file or repository
* `start.start_supernet`: a supernet that computes what was published
"""
