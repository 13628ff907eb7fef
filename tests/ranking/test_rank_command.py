"""`pocketnas rank`: its JSON contract, its page, and one clear line for whatever is wrong with the file."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline.cli.app import run_command as run

ROWS = [f"{i % 3}{i % 2},{50 + i},{(i * 7) % 20},{100 + i},{'ab'[i % 2]}" for i in range(20)]
HEADER = "arch,truth,proxy,macs,part"


def table(folder: Path, rows: list[str] = ROWS, header: str = HEADER, name: str = "ranks.csv") -> str:
    path = folder / name
    text = "\n".join([header, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


def asked(path: str, *more: str) -> list[str]:
    return ["rank", path, "--truth", "truth", "--proxy", "proxy", "--resamples", "20", *more]


def answer(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, dict[str, object]]:
    assert run(words) == 0
    document: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.parametrize("name", ["ranks.csv", "ranks.csv.gz"])
def test_json_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words = asked(table(tmp_path, name=name), "--proxy", "macs", "--json")
    document = answer(capsys, words)
    assert set(document) == {"proxy", "macs"}
    perfect = document["macs"]
    assert perfect["kendall_tau"] == perfect["spearman"] == perfect["precision_at_10_percent"] == 1
    assert perfect["best_in_top_10"] == 69
    assert perfect["ci95"] == [1, 1]
    # Of ten out of twenty, the best is in with chance one half.
    random_best = perfect["random_best_in_top_10"]
    assert isinstance(random_best, float)
    assert 68 < random_best < 69
    assert perfect["best_in_top_100"] is None
    assert document["proxy"]["minus"]["macs"]["tau"] < 0  # type: ignore[index]
    assert answer(capsys, words) == document


@pytest.mark.parametrize("name", ["german.csv", "german.csv.gz"])
def test_tables_as_other_programs_write_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Semicolons, decimal commas and a byte-order mark give the same figures."""
    rows = [row.replace(",", ";") for row in ROWS]
    german = [f"{row};0,{n}" for n, row in enumerate(rows)]
    plain = [f"{row},0.{n}" for n, row in enumerate(ROWS)]
    one = answer(
        capsys,
        asked(table(tmp_path, german, "\ufeff" + HEADER.replace(",", ";") + ";x", name), "--size", "x", "--json"),
    )
    assert one == answer(capsys, asked(table(tmp_path, plain, HEADER + ",x"), "--size", "x", "--json"))


def test_options_regions_size_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    more = ("--arch", "arch", "--region", "part", "--size", "macs", "--html", str(page), "--json")
    words = asked(table(tmp_path), *more)
    entry = answer(capsys, words)["proxy"]
    assert {row["option"] for row in entry["option_residuals"]} == {"0", "1", "2"}  # type: ignore[attr-defined]
    assert [(row["region"], row["n"]) for row in entry["regions"]] == [("a", 10), ("b", 10)]  # type: ignore[attr-defined]
    assert entry["size"]["macs"]["truth"]["tau"] == 1  # type: ignore[index]
    text = page.read_text()
    assert "ranks.csv" in text
    assert "http-equiv" not in text
    assert answer(capsys, asked(table(tmp_path), "--arch", "arch", "--region", "layer2", "--json"))


def test_a_constant_proxy_is_undefined_not_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i},{i},5" for i in range(20)]
    path = table(tmp_path, rows, "n,truth,proxy")
    entry = answer(capsys, asked(path, "--json"))["proxy"]
    assert entry["kendall_tau"] is None
    assert entry["ci95"] is None
    assert run(asked(path)) == 0
    assert "undefined" in capsys.readouterr().out


def test_missing_values_are_counted_and_low_can_be_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i},{-i if i % 4 else ''}" for i in range(20)]
    path = table(tmp_path, rows, "truth,proxy")
    entry = answer(capsys, asked(path, "--lower", "proxy", "--json"))["proxy"]
    assert (entry["n"], entry["missing"], entry["kendall_tau"]) == (15, 5, 1)


@pytest.mark.parametrize(
    ("rows", "header", "words", "said"),
    [
        (ROWS, HEADER, ["--proxy", "nothing"], "no column 'nothing'; its columns are arch, truth"),
        (ROWS, HEADER, ["--proxy", "part"], "column 'part'"),
        (ROWS, HEADER, ["--lower", "nothing"], "no column 'nothing'"),
        (ROWS, HEADER, ["--lower", "macs"], "--lower 'macs' is neither the truth nor a proxy"),
        (ROWS, HEADER, ["--region", "nothing"], "'nothing' is no column"),
        (ROWS, HEADER, ["--arch", "part"], "'a' is no architecture"),
        ([*ROWS, "1,2"], HEADER, [], "line 22: 2 cells under 5 column names"),
        (ROWS[:2], HEADER, [], "only 2 rows have both 'truth' and 'proxy'; to compare rankings at least 3"),
        (ROWS, HEADER + ",truth", [], "has the column 'truth' twice"),
        ([], HEADER, [], "has no rows"),
        (["x,1,"], "arch,truth,proxy", [], "no row has both 'truth' and 'proxy'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[str],
    header: str,
    words: list[str],
    said: str,
) -> None:
    assert run(asked(table(tmp_path, rows, header), *words)) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(asked(str(tmp_path / "none.csv"))) == 2
    assert "none.csv" in capsys.readouterr().err


def test_differences_use_the_rows_that_both_proxies_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i},{(i * 7) % 20},{(i * 3) % 20},{i if i % 3 else ''}" for i in range(20)]
    path = table(tmp_path, rows, "truth,proxy,second,third")
    document = answer(capsys, asked(path, "--proxy", "second", "--proxy", "third", "--json"))
    taus = {name: entry["kendall_tau"] for name, entry in document.items()}
    minus = document["proxy"]["minus"]
    assert minus["second"]["tau"] == pytest.approx(taus["proxy"] - taus["second"])  # type: ignore[index,operator]
    # Where the third is missing nothing is compared, so the rest has a tau of its own.
    known = [i for i in range(20) if i % 3]
    there = table(tmp_path, [f"{i},{(i * 7) % 20}" for i in known], "truth,proxy", "known.csv")
    own = answer(capsys, asked(there, "--json"))["proxy"]["kendall_tau"]
    assert minus["third"]["tau"] == pytest.approx(own - 1)  # type: ignore[index,operator]
    back = document["third"]["minus"]["proxy"]["tau"]  # type: ignore[index]
    assert back == pytest.approx(-minus["third"]["tau"])  # type: ignore[index]
