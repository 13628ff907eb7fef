"""An iPhone without an iPhone: `devicectl` and `xcrun` as coremltools calls them, on a folder that is the phone.

What coremltools itself does (finding, installing, asking, reading answers) is its real code; Apple's compiler and the
app that it builds are not there.
"""

import shutil
import stat
import sys
from pathlib import Path

import pytest

DEVICECTL = """#!PYTHON -IS
import json, shutil, sys, time
from pathlib import Path

phone, words = Path("PHONE"), sys.argv[1:]
out = words[words.index("-j") + 1] if "-j" in words else None

def after(flag):
    return words[words.index(flag) + 1]

def answered(message):
    device = json.loads(message.read_text())
    params, kind = device["params"], device["method"]
    result, resource = {"modelID": params["modelID"], "duration": 5_000_000}, None
    folder = phone / "Documents/modelrunnerd/responses" / device["id"]
    folder.mkdir(parents=True)
    if kind.endswith("Prediction"):
        shape = params["inputs"]["image"]["shape"]
        result["duration"] = 1000 * shape[1] * shape[2] * shape[3]
        storage = {"offset": 0, "size": 4}
        result["outputs"] = {"y": {"shape": [1], "strides": [1], "dataType": "Float32", "storage": storage}}
        (folder / "out.bin").write_bytes(bytes(4))
        resource = "out.bin"
    body = {"id": device["id"], "result": result}
    (folder / "message.json").write_text(json.dumps(body | ({"resource": resource} if resource else {})))

with (phone / "log").open("a") as log:
    print(*words[:3], file=log)
if words[:2] == ["list", "devices"]:
    properties = {"name": "Anna's iPhone", "osVersionNumber": "26.1", "osBuildUpdate": "23B85"}
    hardware = {"deviceType": "iPhone", "udid": "UDID", "marketingName": "iPhone 17"}
    one = {"identifier": "ID", "deviceProperties": properties, "hardwareProperties": hardware}
    answer = {"devices": [one | {"connectionProperties": {"tunnelState": "connected"}}]}
elif words[1:2] == ["install"]:
    answer = {"installedApplications": [{"bundleID": "com.coremltools.modelrunnerd", "databaseUUID": "1"}]}
elif words[1:2] == ["process"]:
    time.sleep(60)
else:
    source, destination = after("--source"), after("--destination")
    if words[2] == "to":
        there = phone / destination
        there.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if Path(source).is_dir() else shutil.copy
        copy(source, there)
        if there.name == "message.json":
            answered(there)
    else:
        shutil.copy(phone / source, destination)
    answer = {"source": source, "destination": destination}
if out:
    Path(out).write_text(json.dumps({"result": answer}))
"""


def plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Connect the phone whose files lie in the folder that is returned."""
    from coremltools.models.ml_program.experimental import async_wrapper, remote_device

    phone, programs = folder / "phone", folder / "programs"
    phone.mkdir()
    programs.mkdir()
    text = DEVICECTL.replace("PYTHON", sys.executable).replace("PHONE", str(phone))
    for name, content in {
        "devicectl": text,
        "xcrun": f'#!/bin/sh\nshift\nexec {programs}/devicectl "$@"\n',
        "xcodebuild": "#!/bin/sh\n",
    }.items():
        (programs / name).write_text(content)
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    app = folder / "ModelRunner.app"
    app.mkdir()
    monkeypatch.setattr(remote_device._ModelRunnerAppBuilder, "build", lambda **_: app)
    monkeypatch.setattr(async_wrapper, "compile_model", _copied)
    return phone


def _copied(model: str, destination_path: str) -> None:
    shutil.copytree(model, destination_path)
