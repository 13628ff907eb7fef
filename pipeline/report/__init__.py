"""The report: one HTML page that needs nothing else.

* `data.ReportData`: what it shows
* `page.render_report`: the page
"""
