"""A phone without a phone: what adb does there is done in a folder, and programs print what the real ones do."""

import stat
from pathlib import Path
from urllib.parse import urlsplit

from latency_tables.devices.adb import AdbRunner

PERF_TEST = """#!/bin/sh
for word; do model=$word; done
size=$(wc -c < "$model") || exit 1
echo "Session creation time cost: 0.01 s"
echo "P50 Latency: 0.000$((size % 900 + 100)) s"
"""
# Does on this machine what adb does on a phone whose /data is a folder.
ADB = """#!/bin/sh
test "$1" = -s || exit 2
test "$2" = PHONE || { echo "error: device '$2' not found" >&2; exit 1; }
verb=$3; shift 3
echo "$verb $*" >> ROOT/log
case $verb in
  push) cp -- "$1" "ROOT$2" ;;
  shell) line=$*; set -- $line; case $1 in
    getprop) case $2 in ro.product.model) echo Pixel ;; ro.product.cpu.abi) echo arm64-v8a ;; esac ;;
    nproc) echo 8 ;;
    *) eval "$(echo "$line" | sed 's#/data/#ROOT/data/#g')" ;;
  esac ;;
esac
"""
# What LiteRT's program prints of its flags, warm-ups and runs; a file's size is its latency in tenths of microseconds.
BENCHMARK_MODEL = """#!/bin/sh
for word; do case $word in --graph=*) model=${word#--graph=} ;; esac; done
size=$(wc -c < "$model") || exit 1
us=$((size / 10 + 1))
echo "INFO: STARTING!" >&2
echo "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." >&2
echo "INFO: Running benchmark for at least 1 iterations and at least 0 seconds but terminate if exceeding 150 seconds."
echo "INFO: count=1 curr=9999 p5=9999 median=9999 p95=9999"
echo
echo "INFO: Running benchmark for at least 3 iterations and at least 0 seconds but terminate if exceeding 150 seconds."
echo "INFO: count=7 first=$us curr=$us min=1 max=9999 avg=$us.25 std=3 p5=1 median=$us p95=9999"
echo
echo "INFO: Inference timings in us: Init: 1800, First inference: 9999, Warmup (avg): 9999, Inference (avg): $us.25"
"""


def script(path: Path, text: str) -> Path:
    """A program at `path`."""
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def scripted_phone(folder: Path, program: str, more: str = "") -> AdbRunner:
    """A phone whose files lie in `folder`/phone, two threads, and a program of no telling name; `more` of its URL."""
    root = folder / "phone"
    (root / "data/local/tmp").mkdir(parents=True)
    adb = script(folder / "adb", ADB.replace("ROOT", str(root)))
    named = script(folder / "a program", program)
    return AdbRunner(urlsplit(f"adb://PHONE?binary={named}{more}"), 2, adb=str(adb))
