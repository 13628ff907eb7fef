"""Tables that others published, read into ours: Once-for-All, ProxylessNAS and FBNet.

Nothing of them is scaled or filled in. What our blocks cannot express is left out and counted.

* `registry.import_table`, `registry.IMPORTERS`: a table of a device from published files
* `keyed.read_figures`: the entries of a table of Once-for-All or ProxylessNAS
"""
