"""Devices that can be measured, one module each.

* `registry.open_runner`, `registry.opened_runner`: the device of a name or URL
* `runner.Runner`: what a device does; `runner.DeviceOptions`: how it is opened
* `kit.write_kit`, `kit.table_from_kit`: measuring where nothing here can reach
"""
