import json

from exporters import verify


def test_fixture(trained, exported):
    for r in exported.reports.values():
        print(json.dumps(r.as_dict(), indent=1))
    for r in verify(exported.folder):
        print(r)
