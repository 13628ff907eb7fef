"""A space cut into regions, and a sub-supernet for each.

* `partition.Partition`: disjoint regions that cover a space
* `criteria.divide`: where to cut; `criteria.CRITERIA`: by what
* `children.train_children`, `children.load_children`: the sub-supernets
"""
