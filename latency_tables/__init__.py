"""What a device costs: blocks, and tables of their measured milliseconds. Nothing here needs torch.

* `blocks.Block`: what a device executes
* `table.LatencyTable`: rows, calibration and error of one device
* `store.load_table`, `store.save_table`, `store.shipped_names`: tables by name or file
* `build.measure_table`: a table measured on a device of `devices`
* `importers`: tables that others published
* `table_transfer.TableTransfer`: a table from whole networks and the tables of other devices
"""
