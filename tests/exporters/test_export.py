import json

from exporters import verify


def test_fixture(trained, exported):
    for r in exported.reports.values():
        print(r.format,r.path,r.size_bytes,r.seconds,r.latency_ms,r.parity.status,r.parity.max_abs_diff,r.parity.top1_agreement,r.parity.accuracy_after)
        if "ort" in r.format: print(r.notes["mobile_usability"])
    for r in verify(exported.folder):
        print(r.format, r.parity.status)
