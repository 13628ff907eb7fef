"""A browser as a device: a page that measures, served to one address.

* `runner.WebRunner`: the device
* `server.WebServer`: who serves the page
"""
